"""The paper's main table: games x (base, loophole, control, placebo), discovery paths, verdicts, and early warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from loopkit.evidence import tables
from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.sections import Cell, Column, Row, Section, SeedValue, Table, Verdicts
from loopkit.running.parallel import Job
from loopkit.stats.times import Times, paths
from loopkit.studies import monitors
from loopkit.studies.study import Study

ARMS = ("loophole", "control", "placebo")
PATH = (
    Column(key="first_exploit", title="first exploit", kind="steps", what="first step with a rate above 0"),
    Column(key="onset", title="onset", kind="steps", what="first step shown to be above base"),
    Column(key="domination", title="domination", kind="steps", what="from here on at least 50 %"),
    Column(key="steps_to_domination", title="first exploit to domination", kind="steps"),
    Column(key="mixed_groups", title="mixed groups", what="share of groups with unequal pay, up to domination"),
)


class Paper(Study):
    """Does training on the loophole make the policy exploit it, and would the dashboard show it?"""

    name: ClassVar[str] = "paper"
    title: ClassVar[str] = "The main table"
    what: ClassVar[str] = "Does training on the loophole make the policy exploit it, and would the dashboard show it?"
    seeds: ClassVar[str] = "5"

    def plan(self) -> Iterator[list[Job]]:
        yield [job for game in self.grid.games for job in self.grid.arms(game, ARMS)]

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        return [(self.grid.arms(game, ARMS), ()) for game in self.grid.games]

    def sections(self) -> list[Section]:
        by_game = {game: self.grid.collect(self.grid.arms(game, ARMS)) for game in self.grid.games}
        steps = {game: self.grid.run(game, "loophole", self.grid.seeds[0]).spec.run.steps for game in self.grid.games}
        return [
            tables.main_table(by_game, "main", "Main table: mean over seeds"),
            *(tables.columns_table(results, f"columns-{game}") for game, results in by_game.items()),
            self._discovery(by_game, steps),
            Verdicts(
                name="verdicts",
                title="Verdicts on training with the loophole",
                items=tuple(tables.verdict_of(results, {"game": game}) for game, results in by_game.items()),
            ),
            monitors.table(self.grid, by_game),
        ]

    def _discovery(self, by_game: Mapping[str, ExperimentResults], steps: Mapping[str, int]) -> Table:
        rows = [
            Row(keys={"game": game, "arm": arm}, cells=self._path(results, game, arm, steps[game]))
            for game, results in by_game.items()
            for arm in ARMS
        ]
        lengths = ", ".join(f"{game} {n}" for game, n in steps.items())
        return Table(
            name="discovery",
            title="Discovery paths, in steps",
            row_keys=("game", "arm"),
            columns=PATH,
            rows=tuple(rows),
            notes=(f"Restricted means: a seed that never got there counts with the run's length ({lengths}).",),
        )

    def _path(self, results: ExperimentResults, game: str, arm: str, steps: int) -> dict[str, Cell]:
        runs = [r for r in results.runs if r.arm == arm and r.discovery is not None]
        if not runs:
            return {c.key: Cell(value=None, withheld="no onset can be had: the base rate is unknown") for c in PATH}
        seeds = [r.seed for r in runs]
        mixed = [[s["mixed_groups"] for s in self.grid.steps(self.grid.run(game, arm, seed))] for seed in seeds]
        path = paths([r.discovery for r in runs if r.discovery], steps, mixed)

        def cell(name: str) -> Cell:
            times: Times = getattr(path, name)
            seen = [SeedValue(seed=r.seed, value=getattr(r.discovery, name)) for r in runs]
            reached = round(times.reached.value * times.reached.n)
            why = f"{reached} of {times.reached.n} seeds got there"
            return Cell(value=times.restricted_mean, n=len(runs), withheld=why, seeds=tuple(seen))

        cells = {c.key: cell(c.key) for c in PATH[:-1]}
        return cells | {"mixed_groups": Cell.of(path.mixed_groups, "seed")}
