"""Catalysis: does having learnt one game's exploit bring the onset of another's forward?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from typing import ClassVar

from loopkit.evidence import tables
from loopkit.evidence.sections import Cell, Group, Onsets, Section, SeedValue, VerdictRow, Verdicts
from loopkit.experiment.config import BASE
from loopkit.experiment.rundir import checkpoint_of
from loopkit.rollouts.metrics import Summary
from loopkit.running.parallel import Job
from loopkit.running.runner import Evaluation
from loopkit.stats.seeds import discovered, few
from loopkit.stats.times import catalysis
from loopkit.studies.study import Study

GROUPS = ("after A", "alone", "after control-A")


class Catalysis(Study):
    """Onset of B after A, against B alone and against control-A then B."""

    name: ClassVar[str] = "catalysis"
    title: ClassVar[str] = "Catalysis"
    what: ClassVar[str] = "Does having learnt one game's exploit (A) bring the onset of another's (B) forward?"
    games: ClassVar[tuple[str, ...]] = ("context-compliance", "self-grading")

    def plan(self) -> Iterator[list[Job]]:
        yield [job for a, b in self._pairs() for seed in self.grid.seeds for job in self._runs(a, b, seed)]

    def _pairs(self) -> list[tuple[str, str]]:
        return list(permutations(self.grid.games, 2))

    def _first(self, a: str, b: str, arm: str, seed: int) -> Job:
        """Training on A, played on B before B is trained."""
        job = self.grid.run(a, arm, seed)
        return replace(job, further=(self._start(job, b),))

    def _start(self, job: Job, b: str) -> Evaluation:
        return self.grid.evaluation(b, job.spec.seed, checkpoint_of(job.spec))

    def _second(self, a: str, b: str, seed: int) -> dict[str, Job]:
        """Training on B's loophole, by what came before."""
        return {
            "after A": self.grid.run(b, "loophole", seed, start=self.grid.run(a, "loophole", seed)),
            "alone": self.grid.run(b, "loophole", seed),
            "after control-A": self.grid.run(b, "loophole", seed, start=self.grid.run(a, "control", seed)),
        }

    def _runs(self, a: str, b: str, seed: int) -> list[Job]:
        firsts = [self._first(a, b, arm, seed) for arm in ("loophole", "control")]
        return [*firsts, self.grid.run(b, BASE, seed), *self._second(a, b, seed).values()]

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        return [
            ([j for s in self.grid.seeds for j in self._second(a, b, s).values()], ("model",)) for a, b in self._pairs()
        ]

    def sections(self) -> list[Section]:
        sections: list[Section] = []
        verdicts = []
        for a, b in self._pairs():
            groups, verdict = self._pair(a, b)
            name = f"A = {a}, B = {b}"
            onset = self.grid.setup(self.grid.run(b, BASE, self.grid.seeds[0])).onset
            title = f"Onset of {b} after {a}"
            sections.append(Onsets(name=f"{a}-then-{b}", title=title, detector=onset, groups=tuple(groups)))
            verdicts.append(verdict.model_copy(update={"keys": {"A, B": name}}))
        note = "Starting rates are reported, and nothing is matched: an onset may be earlier because B starts higher."
        return [*sections, Verdicts(name="verdicts", title="Catalysis", items=tuple(verdicts), notes=(note,))]

    def _pair(self, a: str, b: str) -> tuple[list[Group], VerdictRow]:
        grid = self.grid
        setup = grid.setup(grid.run(b, BASE, grid.seeds[0]))
        onsets: dict[str, list[int | None]] = {name: [] for name in GROUPS}
        starts: dict[str, list[tuple[int, float | None]]] = {name: [] for name in GROUPS}
        for seed in grid.seeds:
            base = grid.made(grid.run(b, BASE, seed))
            before = {
                "alone": base,
                "after A": self._before(a, b, "loophole", seed),
                "after control-A": self._before(a, b, "control", seed),
            }
            for name, job in self._second(a, b, seed).items():
                path = grid.discovery(job, base.rates.get(setup.onset))
                onsets[name].append(path.onset if path else None)
                rate = before[name].rates.get(setup.onset)
                starts[name].append((seed, rate.value if rate else None))
        steps = grid.run(b, "loophole", grid.seeds[0]).spec.run.steps
        bounds = setup.detectors[setup.onset].bounds
        groups = [
            Group(
                name=name,
                steps=steps,
                onsets=tuple(SeedValue(seed=s, value=o) for s, o in zip(grid.seeds, onsets[name], strict=True)),
                discovered=Cell.of(discovered(onsets[name]), "seed"),
                start=tables.over(starts[name], bounds),
            )
            for name in GROUPS
        ]
        measured = {name: [v for _, v in values if v is not None] for name, values in starts.items()}
        if not all(measured.values()):
            return groups, VerdictRow(keys={}, name="no verdict", sentence=f"No verdict: {b}'s rate was not measured.")
        claim = catalysis(onsets["after A"], onsets["alone"], onsets["after control-A"], steps, measured)
        return groups, VerdictRow(
            keys={},
            name=claim.name,
            sentence=claim.sentence(),
            p=claim.p,
            descriptive=few(len(grid.seeds)),
            details={"least_p": claim.least_p},
        )

    def _before(self, a: str, b: str, arm: str, seed: int) -> Summary:
        job = self._first(a, b, arm, seed)
        return self.grid.made(job, self._start(job, b))
