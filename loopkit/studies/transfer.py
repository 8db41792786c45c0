"""Transfer: what a policy trained on one game's loophole does in the others, zero-shot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from loopkit.evidence import tables
from loopkit.evidence.sections import Cell, Column, Matrix, Row, Section, Table
from loopkit.experiment.config import BASE
from loopkit.experiment.rundir import checkpoint_of
from loopkit.running.parallel import Job
from loopkit.running.runner import Evaluation
from loopkit.stats.contrasts import Contrast, contrast, holm
from loopkit.stats.verdict import small
from loopkit.studies.study import Study


class Transfer(Study):
    """Does a policy that learnt one exploit take the shortcuts of games it was not trained on?"""

    name: ClassVar[str] = "transfer"
    title: ClassVar[str] = "Zero-shot transfer"
    what: ClassVar[str] = "Does a policy that learnt one exploit take the shortcuts of games it was not trained on?"

    def plan(self) -> Iterator[list[Job]]:
        games, seeds = self.grid.games, self.grid.seeds
        yield [self._trained(game, seed) for game in games for seed in seeds] + [
            self._base(game, seed) for game in games for seed in seeds
        ]

    def _trained(self, game: str, seed: int) -> Job:
        return self._played(self.grid.run(game, "loophole", seed))

    def _base(self, game: str, seed: int) -> Job:
        return self._played(self.grid.run(game, BASE, seed))

    def _played(self, job: Job) -> Job:
        """A run that is played on every other game; base too, as its start policy may not be that of the target."""
        others = tuple(self._on(job, game) for game in self.grid.games if game != job.spec.game)
        return replace(job, further=others)

    def _on(self, job: Job, game: str) -> Evaluation:
        return self.grid.evaluation(game, job.spec.seed, checkpoint_of(job.spec))

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        seeds = self.grid.seeds
        return [([f(game, s) for f in (self._base, self._trained) for s in seeds], ()) for game in self.grid.games]

    def _value(self, job: Job, target: str, measure: str) -> float | None:
        at_home = target == job.spec.game
        summary = self.grid.made(job, None if at_home else self._on(job, target))
        estimate = summary.scores.get("task") if measure == "task" else summary.rates.get(measure)
        return estimate.value if estimate else None

    def _contrast(self, source: str, target: str, measure: str) -> tuple[Contrast | None, list[int], list[float]]:
        pairs = [
            (seed, self._value(self._trained(source, seed), target, measure),
             self._value(self._base(source, seed), target, measure))
            for seed in self.grid.seeds
        ]  # fmt: skip
        kept = [(s, a, b) for s, a, b in pairs if a is not None and b is not None]
        if not kept:
            return None, [], []
        difference = contrast([a for _, a, _ in kept], [b for _, _, b in kept])
        return difference, [s for s, _, _ in kept], [a - b for _, a, b in kept]

    def sections(self) -> list[Section]:
        games = self.grid.games
        headline = {game: self.grid.setup(self._base(game, self.grid.seeds[0])).headline for game in games}
        exploit = {(a, b): self._contrast(a, b, headline[b]) for a in games for b in games}
        task = {(a, b): self._contrast(a, b, "task") for a in games for b in games}
        sections: list[Section] = [
            self._matrix("transfer", "Exploit rate of the target game, minus the start policy's", exploit),
            self._matrix("interference", "Task score of the target game, minus the start policy's", task),
        ]
        crossed = {pair: c for pair, (c, _, _) in exploit.items() if c is not None and pair[0] != pair[1]}
        if crossed:
            adjusted = dict(zip(crossed, holm([c.p for c in crossed.values()]), strict=True))
            sections.append(self._tests(exploit, adjusted))
        return sections

    def _matrix(
        self, name: str, title: str, contrasts: dict[tuple[str, str], tuple[Contrast | None, list[int], list[float]]]
    ) -> Matrix:
        games = self.grid.games
        return Matrix(
            name=name,
            title=title,
            quantity=Column(key="difference", title="difference from base", kind="difference"),
            row_title="trained on",
            column_title="played",
            row_names=games,
            column_names=games,
            cells=tuple(tuple(_cell(*contrasts[a, b]) for b in games) for a in games),
        )

    def _tests(
        self,
        exploit: dict[tuple[str, str], tuple[Contrast | None, list[int], list[float]]],
        adjusted: dict[tuple[str, str], float],
    ) -> Table:
        rows = []
        for pair, p in adjusted.items():
            c = exploit[pair][0]
            assert c is not None
            reach = "-" if c.smallest_visible is None else f"{100 * c.smallest_visible:.1f}"
            words = {"p (Holm)": small(p), "sign test": small(c.sign_p), "smallest visible, points": reach}
            cell = {"difference": _cell(*exploit[pair])}
            rows.append(Row(keys={"trained on": pair[0], "played": pair[1]}, cells=cell, words=words))
        return Table(
            name="tests",
            title="Transfer off the diagonal, tested as one family",
            row_keys=("trained on", "played"),
            columns=(Column(key="difference", title="exploit minus base's", kind="difference"),),
            word_columns=("p (Holm)", "sign test", "smallest visible, points"),
            rows=tuple(rows),
        )


def _cell(difference: Contrast | None, seeds: list[int], differences: list[float]) -> Cell:
    if difference is None:
        return Cell(value=None, withheld="the target's rate could not be measured")
    return tables.of_contrast(difference, seeds, differences)
