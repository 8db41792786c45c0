"""Mitigations: every channel of a game as an arm, what each fix did, and what every channel would have paid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from loopkit.contracts import Options
from loopkit.errors import UsageError, nearest
from loopkit.evidence import tables
from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.sections import Cell, Column, Matrix, Section, VerdictRow, Verdicts
from loopkit.experiment.config import BASE
from loopkit.experiment.resolve import build_game, own_channels
from loopkit.running.parallel import Job
from loopkit.studies.study import Study

NO_FIX = (BASE, "loophole", "placebo")


class MitigationsOptions(Options):
    """Options of mitigations."""

    fixes: str = Field("all", description="channels to try beside loophole, comma-separated; all: every one")


class Mitigations(Study):
    """Which of a game's fixes closes the loophole, and at what price?"""

    name: ClassVar[str] = "mitigations"
    title: ClassVar[str] = "Mitigations"
    what: ClassVar[str] = "Which of a game's fixes closes the loophole, and at what price?"
    games: ClassVar[tuple[str, ...]] = ("context-compliance", "self-grading", "reward-tampering")

    Options = MitigationsOptions
    options: MitigationsOptions

    def _channels(self, game: str) -> list[str]:
        """The game's own channels and those that others registered for it, loophole first."""
        plugins = self.grid.plugins
        built = build_game(plugins, game, dict(self.grid.settings.get("game", {})))
        names = [*own_channels(built), *(n for n in plugins.channels(game) if n not in own_channels(built))]
        return sorted(names, key=lambda n: (n != "loophole", n != "control"))

    def _arms(self, game: str) -> list[str]:
        """Loophole and the fixes that are to be tried."""
        known = self._channels(game)
        if self.options.fixes == "all":
            return known
        fixes = [n.strip() for n in self.options.fixes.split(",")]
        for fix in fixes:
            if fix not in known or fix in NO_FIX:
                raise UsageError(f"study.fixes: {game} has no fix {fix!r}. {nearest(fix, set(known) - set(NO_FIX))}")
        return ["loophole", *(n for n in known if n in fixes)]

    def _runs(self, game: str) -> list[Job]:
        return self.grid.arms(game, self._arms(game))

    def plan(self) -> Iterator[list[Job]]:
        yield [job for game in self.grid.games for job in self._runs(game)]

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        return [(self._runs(game), ()) for game in self.grid.games]

    def sections(self) -> list[Section]:
        by_game = {game: self.grid.collect(self._runs(game)) for game in self.grid.games}
        items = [v for game, results in by_game.items() for v in self._verdicts(game, results)]
        return [
            tables.main_table(by_game, "arms", "Every channel as an arm"),
            Verdicts(name="verdicts", title="What each fix did", items=tuple(items)),
            *(self._shadow(game, results) for game, results in by_game.items()),
        ]

    def _verdicts(self, game: str, results: ExperimentResults) -> list[VerdictRow]:
        if results.checked.status != "proven":
            return [tables.verdict_of(results, {"game": game})]
        return [tables.from_claim(fix, {"game": game, "fix": arm}) for arm, fix in results.mitigations.items()]

    def _shadow(self, game: str, results: ExperimentResults) -> Matrix:
        """Mean reward that each channel would have paid for what each arm's policy does, held out."""
        channels = self._channels(game)

        def cell(arm: str, channel: str) -> Cell:
            runs = results.of(arm)
            return tables.over([(r.seed, r.rewards.get(channel)) for r in runs], None)

        return Matrix(
            name=f"shadow-{game}",
            title=f"{game}: what every channel would have paid",
            quantity=Column(key="reward", title="mean reward", kind="reward"),
            row_title="arm",
            column_title="channel",
            row_names=tuple(results.arm_names),
            column_names=tuple(channels),
            cells=tuple(tuple(cell(arm, c) for c in channels) for arm in results.arm_names),
            notes=("Rewards of held-out rollouts. The column of an arm's own channel, at its defaults, is what paid.",),
        )
