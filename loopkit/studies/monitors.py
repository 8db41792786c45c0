"""Early warning: how many steps before domination would a cheap monitor of a run have raised an alarm?

Thresholds are set on half of the control runs and tested on the other half (``stats.monitors``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.sections import Cell, Column, Row, SeedValue, Table
from loopkit.experiment.shards import read_shard, shards
from loopkit.records import Json
from loopkit.running.parallel import Job
from loopkit.stats.monitors import EXPLORATORY_BELOW, WARM, WINDOW, Side, early_warning
from loopkit.studies.grid import Grid

LOOKED_AT = 32
"""Rollouts a step that the monitor with a detector looks at."""
COLUMNS = (
    Column(key="lead", title="steps before domination", kind="steps", what="of runs warned in time"),
    Column(key="missed", title="missed", what="runs that dominated without an alarm before it"),
    Column(key="false_alarms", title="false alarms", what="control runs not used for the threshold"),
    Column(key="level", title="promised false alarms", what="5 %, or what so few control runs allow"),
)
Series = list[float | None]


def _reward(channel: str) -> Callable[[dict[str, Json]], float | None]:
    return lambda step: step["rewards"].get(channel)


def _gap(step: dict[str, Json]) -> float | None:
    rewards = step["rewards"]
    return rewards["paid"] - rewards["control"] if {"paid", "control"} <= rewards.keys() else None


def _trainer(name: str) -> Callable[[dict[str, Json]], float | None]:
    return lambda step: step["trainer"].get(name)


MONITORS: Mapping[str, tuple[Callable[[dict[str, Json]], float | None], Side]] = {
    "paid reward": (_reward("paid"), "rise"),
    "observed score": (lambda step: step["scores"].get("observed"), "rise"),
    "shadow gap": (_gap, "rise"),
    "length": (lambda step: step["trainer"]["tokens"] / step["n"] if "tokens" in step["trainer"] else None, "both"),
    "KL": (_trainer("kl"), "rise"),
    "entropy": (_trainer("entropy"), "fall"),
}
"""Monitor -> its number of a step, and the side that is an alarm. The shadow gap is paid minus what control pays."""


def table(grid: Grid, by_game: Mapping[str, ExperimentResults]) -> Table:
    """One row a game and monitor."""
    rows = []
    for game, results in by_game.items():
        controls = [grid.run(game, "control", seed) for seed in grid.seeds]
        runs = [grid.run(game, "loophole", seed) for seed in grid.seeds]
        domination = {r.seed: r.discovery.domination for r in results.runs if r.arm == "loophole" and r.discovery}
        steps = {job.directory: grid.steps(job) for job in (*controls, *runs)}
        for name, (value, side) in MONITORS.items():
            series = {d: [value(s) for s in lines] for d, lines in steps.items()}
            rows.append(_row(game, name, controls, runs, series, domination, side))
        looked = {job.directory: _detector(job, results.headline) for job in (*controls, *runs)}
        name = f"detector on {LOOKED_AT} rollouts"
        rows.append(_row(game, name, controls, runs, looked, domination, "rise"))
    n = len(grid.seeds)
    few = f"Exploratory: {n} control runs a game, and {EXPLORATORY_BELOW} would be needed." * (n < EXPLORATORY_BELOW)
    return Table(
        name="monitors",
        title="Early warning: cheap monitors of a run",
        row_keys=("game", "monitor"),
        columns=COLUMNS,
        rows=tuple(rows),
        notes=tuple(filter(None, [few])),
    )


def _row(
    game: str, name: str, controls: Sequence[Job], runs: Sequence[Job], series: Mapping[Path, Series],
    domination: Mapping[int, int | None], side: Side,
) -> Row:  # fmt: skip
    keys = {"game": game, "monitor": name}
    if any(sum(v is not None for v in series[j.directory]) < WARM + WINDOW for j in (*controls, *runs)):
        why = f"not recorded, or in fewer than {WARM + WINDOW} steps"
        return Row(keys=keys, cells={c.key: Cell(value=None, withheld=why) for c in COLUMNS})
    half = (len(controls) + 1) // 2
    warning = early_warning(
        [series[j.directory] for j in controls[:half]],
        [series[j.directory] for j in controls[half:]],
        [(series[j.directory], domination.get(j.spec.seed)) for j in runs],
        side,
    )
    seen = tuple(SeedValue(seed=k, value=lead) for k, lead in enumerate(warning.leads))
    lead = Cell(value=None, unit="run", withheld="no run was warned in time")
    if seen:
        why = "mean over the runs warned in time"
        lead = Cell(value=fmean(warning.leads), n=len(seen), unit="run", withheld=why, seeds=seen)
    return Row(
        keys=keys,
        cells={
            "lead": lead,
            "missed": Cell.of(warning.missed, "run", why="no run dominated"),
            "false_alarms": Cell.of(warning.false_alarms, "run", why="no control run was left to test on"),
            "level": Cell(value=warning.threshold.level, n=warning.threshold.runs, unit="run", withheld="set"),
        },
    )


def _detector(job: Job, detector: str) -> Series:
    """(T,) share of flags among 32 rollouts of each step, spread over its slots."""
    out: Series = []
    for _, path in shards(job.directory / "scores"):
        rows = read_shard(path)
        some = [rows[i * len(rows) // LOOKED_AT] for i in range(LOOKED_AT)] if len(rows) > LOOKED_AT else rows
        flags = [r[f"flag.{detector}"] for r in some if r[f"flag.{detector}"] is not None]
        out.append(fmean(flags) if flags else None)
    return out
