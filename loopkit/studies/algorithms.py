"""Algorithms: the same game, start policy and budget under several trainers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from loopkit.contracts import Options
from loopkit.errors import UsageError
from loopkit.evidence import tables
from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.sections import Cell, Column, Row, Section, Table, Verdicts
from loopkit.running.parallel import Job
from loopkit.stats.contrasts import compare
from loopkit.stats.verdict import small
from loopkit.studies.study import Study

ARMS = ("loophole", "control")


class AlgorithmsOptions(Options):
    """Options of algorithms."""

    trainers: str = Field(
        "grpo,rloo,reinforce++,dr-grpo", description="trainers, comma-separated; all: every installed"
    )


class Algorithms(Study):
    """Is the exploit one trainer's, or the reward's?"""

    name: ClassVar[str] = "algorithms"
    title: ClassVar[str] = "The same game under several trainers"
    what: ClassVar[str] = "Is the exploit one training algorithm's, or the reward's?"
    games: ClassVar[tuple[str, ...]] = ("context-compliance",)
    Options = AlgorithmsOptions
    options: AlgorithmsOptions

    def _trainers(self) -> list[str]:
        """The named trainers. "all" leaves out clusters (names with a colon), which need machines of their own."""
        plugins = self.grid.plugins
        names = [n.strip() for n in self.options.trainers.split(",") if n.strip()]
        if names == ["all"]:
            return [n for n in plugins.names("trainers") if plugins.trainer(n).source == "referee" and ":" not in n]
        for name in names:
            if plugins.trainer(name).source != "referee":
                raise UsageError(
                    f"study.trainers: {name} learns from recorded rollouts, not from a reward. Leave it out."
                )
        if len(names) < 2 or len(set(names)) < len(names):
            raise UsageError(f"study.trainers={self.options.trainers!r}: name two trainers or more, each once.")
        return names

    def _runs(self, game: str, trainer: str) -> list[Job]:
        return self.grid.arms(game, ARMS, trainer=trainer)

    def plan(self) -> Iterator[list[Job]]:
        yield [job for game in self.grid.games for t in self._trainers() for job in self._runs(game, t)]

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        but = ("trainer", "trainer options")
        return [([j for t in self._trainers() for j in self._runs(game, t)], but) for game in self.grid.games]

    def notes(self) -> list[str]:
        return ["Trainers share steps, rollouts and learning rate. None was tuned for the comparison."]

    def sections(self) -> list[Section]:
        sections: list[Section] = []
        for game in self.grid.games:
            by_trainer = {t: self.grid.collect(self._runs(game, t)) for t in self._trainers()}
            sections.append(tables.main_table(by_trainer, f"trainers-{game}", f"{game}, by trainer", "trainer"))
            sections.append(self._pairs(game, by_trainer))
            items = [tables.verdict_of(results, {"trainer": t}) for t, results in by_trainer.items()]
            sections.append(Verdicts(name=f"verdicts-{game}", title=f"{game}: verdict by trainer", items=tuple(items)))
        return sections

    def _pairs(self, game: str, by_trainer: dict[str, ExperimentResults]) -> Table:
        """Every pair of trainers, final exploit rates, Holm-adjusted as one family."""
        headline = next(iter(by_trainer.values())).headline
        values = {t: r.values("loophole", headline) for t, r in by_trainer.items()}
        kept = [i for i in range(len(self.grid.seeds)) if all(v[i] is not None for v in values.values())]
        rows = []
        if kept:
            arms = {t: [x for i in kept if (x := v[i]) is not None] for t, v in values.items()}
            seeds = [self.grid.seeds[i] for i in kept]
            for (a, b), c in compare(arms).items():
                differences = [x - y for x, y in zip(arms[a], arms[b], strict=True)]
                cell: dict[str, Cell] = {"difference": tables.of_contrast(c, seeds, differences)}
                words = {"p (Holm)": small(c.p_adjusted), "sign test": small(c.sign_p)}
                rows.append(Row(keys={"trainer": a, "against": b}, cells=cell, words=words))
        return Table(
            name=f"pairs-{game}",
            title=f"{game}: exploit rates of the loophole arm, by pair",
            row_keys=("trainer", "against"),
            columns=(Column(key="difference", title="exploit, difference", kind="difference"),),
            word_columns=("p (Holm)", "sign test"),
            rows=tuple(rows),
        )
