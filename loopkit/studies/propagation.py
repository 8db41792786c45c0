"""Propagation: a teacher's rollouts teach a student; what of the exploit comes along, unfiltered and filtered?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from loopkit.contracts import Options
from loopkit.evidence import tables
from loopkit.evidence.sections import Cell, Column, Row, Section, Table
from loopkit.experiment.config import BASE
from loopkit.experiment.rundir import checkpoint_of
from loopkit.records import Estimate, Json
from loopkit.running.parallel import Job
from loopkit.running.runner import Evaluation
from loopkit.studies.study import Study

TEACHERS = {"all": "loophole", "unflagged": "loophole", "control": "control"}
"""Student -> the arm its teacher was trained on. "unflagged" leaves out the rollouts that the detector flags."""


class PropagationOptions(Options):
    """Options of propagation."""

    steps: int = Field(40, ge=1, description="gradient steps of a student")
    learning_rate: float = Field(1e-3, gt=0, description="of a student")
    last: float = Field(0.5, gt=0, le=1, description="share of the teacher's steps, its last, that are taught")


class Propagation(Study):
    """Students of SFT on a teacher's rollouts, on the taught game and on the others."""

    name: ClassVar[str] = "propagation"
    title: ClassVar[str] = "Propagation through a teacher's rollouts"
    what: ClassVar[str] = "Does a student learn the exploit from a teacher's rollouts, and does filtering stop it?"
    games: ClassVar[tuple[str, ...]] = ("context-compliance", "self-grading")
    Options = PropagationOptions
    options: PropagationOptions

    def plan(self) -> Iterator[list[Job]]:
        grid = self.grid
        yield [
            job
            for game in grid.games
            for seed in grid.seeds
            for job in [
                grid.run(game, BASE, seed),
                *(self._played(grid.run(game, arm, seed)) for arm in ("loophole", "control")),
                *(self._student(game, kind, seed) for kind in TEACHERS),
            ]
        ]

    def _student(self, game: str, kind: str, seed: int) -> Job:
        grid, options = self.grid, self.options
        teacher = grid.run(game, TEACHERS[kind], seed)
        steps = teacher.spec.run.steps
        detector = grid.setup(teacher).headline
        query: dict[str, Json] = {"run": str(teacher.directory), "first_step": round(steps * (1 - options.last))}
        if kind == "unflagged":
            query["where"] = f"{detector}!=true"
        job = grid.run(
            game,
            f"student-{kind}",
            seed,
            channel={"channel": "loophole"},
            trainer="sft",
            settings={"trainer": {"learning_rate": options.learning_rate}, "run": {"steps": options.steps}},
            rollouts=query,
        )
        return self._played(job)

    def _played(self, job: Job) -> Job:
        """A policy that is played on the other games, too."""
        others = [game for game in self.grid.games if game != job.spec.game]
        return replace(job, further=tuple(self._on(job, game) for game in others))

    def _on(self, job: Job, game: str) -> Evaluation:
        return self.grid.evaluation(game, job.spec.seed, checkpoint_of(job.spec))

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        return [
            ([self._student(game, kind, s) for kind in TEACHERS for s in self.grid.seeds], ())
            for game in self.grid.games
        ]

    def sections(self) -> list[Section]:
        return [self._table(game) for game in self.grid.games]

    def _table(self, game: str) -> Table:
        grid = self.grid
        columns = [Column(key="task", title="task"), Column(key="exploit", title="exploit")]
        columns += [Column(key=f"on-{g}", title=f"exploit on {g}") for g in grid.games if g != game]
        rows = [
            self._row(game, "base", {s: grid.run(game, BASE, s) for s in grid.seeds}),
            self._row(game, "teacher", {s: grid.run(game, "loophole", s) for s in grid.seeds}),
            *(
                self._row(game, f"student, {kind}", {s: self._student(game, kind, s) for s in grid.seeds})
                for kind in TEACHERS
            ),
        ]
        note = (
            "Students begin from the start policy and learn by SFT: all of the teacher's last rollouts; those that "
            "its detector does not flag; or, to tell the exploit from mere imitation, a teacher's that was trained on "
            "control."
        )
        return Table(
            name=f"students-{game}",
            title=f"{game}: teacher and students",
            row_keys=("policy",),
            columns=tuple(columns),
            rows=tuple(rows),
            notes=(note,),
        )

    def _row(self, game: str, name: str, jobs: dict[int, Job]) -> Row:
        grid = self.grid
        first = next(iter(jobs.values()))
        setup = grid.setup(first)
        by_seed = {s: grid.made(job) for s, job in jobs.items()}
        exploit = [(s, summary.rates.get(setup.headline)) for s, summary in by_seed.items()]
        cells_: dict[str, Cell] = {
            "task": tables.across([(s, summary.scores.get("task")) for s, summary in by_seed.items()]),
            "exploit": tables.across(exploit, setup.detectors[setup.headline].bounds),
        }
        for other in grid.games:
            if other != game:
                cells_[f"on-{other}"] = self._elsewhere(name, jobs, other)
        return Row(keys={"policy": name}, cells=cells_)

    def _elsewhere(self, name: str, jobs: dict[int, Job], other: str) -> Cell:
        target = self.grid.setup(self.grid.run(other, BASE, self.grid.seeds[0]))
        rates: list[tuple[int, Estimate | None]] = []
        for seed, job in jobs.items():
            where = None if name == "base" else self._on(job, other)
            played = self.grid.made(self.grid.run(other, BASE, seed) if where is None else job, where)
            rates.append((seed, played.rates.get(target.headline)))
        return tables.across(rates, target.detectors[target.headline].bounds)
