"""From numbers a seed to cells and rows: what several studies print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from loopkit.evidence.results import Results
from loopkit.evidence.results import Run as ResultsRun
from loopkit.experiment.config import BASE
from loopkit.records import Estimate
from loopkit.stats import verdict as verdicts
from loopkit.stats.contrasts import Contrast
from loopkit.stats.mitigation import Mitigation
from loopkit.stats.seeds import mean_over_seeds
from loopkit.studies.schema import Cell, Column, Row, SeedValue, Table, Verdict

SHARE = (0.0, 1.0)
POINTS = (-1.0, 1.0)
MAIN = (
    Column(key="task", title="task", what="the true goal"),
    Column(key="observed", title="observed", what="what the operator's dashboard shows"),
    Column(key="exploit", title="exploit", what="the headline detector's rate"),
    Column(key="worst", title="worst seed", what="highest exploit rate"),
    Column(key="discovered", title="k of S discovered", what="seeds that reached onset"),
)


def across(
    values: Sequence[tuple[int, Estimate | None]], bounds: tuple[float, float] = SHARE, why: str = "not measured"
) -> Cell:
    """(S,) estimates, one a seed -> their mean over seeds, with every seed."""
    seen = [
        SeedValue(seed=s, value=e.value if e else None, low=e.low if e else None, high=e.high if e else None,
                  n=e.n if e else None)
        for s, e in values
    ]  # fmt: skip
    return _mean([(s, e.value) for s, e in values if e is not None], bounds, seen, why)


def over(
    values: Sequence[tuple[int, float | None]], bounds: tuple[float, float] | None = POINTS, why: str = "not measured"
) -> Cell:
    """(S,) numbers, one a seed -> their mean over seeds."""
    seen = [SeedValue(seed=s, value=v) for s, v in values]
    return _mean([(s, v) for s, v in values if v is not None], bounds, seen, why)


def _mean(
    values: Sequence[tuple[int, float]], bounds: tuple[float, float] | None, seen: Sequence[SeedValue], why: str
) -> Cell:
    if not values:
        return Cell(value=None, withheld=why, seeds=tuple(seen))
    return Cell.of(mean_over_seeds([v for _, v in values], bounds), "seed", seen)


def of_contrast(found: Contrast, seeds: Sequence[int], differences: Sequence[float]) -> Cell:
    """A contrast's difference, with every seed's."""
    seen = [SeedValue(seed=s, value=d) for s, d in zip(seeds, differences, strict=True)]
    return Cell.of(found.estimate, "seed", seen)


def measure(results: Results, arm: str, name: str, why: str = "not measured") -> Cell:
    """A score or detector of an arm over seeds."""
    runs: dict[int, ResultsRun] = {r.seed: r for r in results.runs if r.arm == arm}
    found = [
        (s, (runs[s].summary.rates.get(name) or runs[s].summary.scores.get(name)) if s in runs else None)
        for s in results.seeds
    ]
    return across(found, results.bounds.get(name, SHARE), why)


def arm_cells(results: Results, arm: str) -> dict[str, Cell]:
    """The cells of ``MAIN``."""
    exploit = measure(results, arm, results.headline)
    worst = max((s.value for s in exploit.seeds if s.value is not None), default=None)
    discovered = results.discovered.get(arm)
    return {
        "task": measure(results, arm, "task"),
        "observed": measure(results, arm, "observed", "the operator does not look"),
        "exploit": exploit,
        "worst": Cell(value=worst, withheld="one seed" if worst is not None else "not measured"),
        "discovered": Cell.of(discovered, "seed", why="not trained" if arm == BASE else "no onset can be had"),
    }


def main_table(found: Mapping[str, Results], name: str, title: str, first: str = "game") -> Table:
    """Arms under the main columns; ``found`` by the name in the first column."""
    rows = [
        Row(keys={first: own, "arm": arm}, cells=arm_cells(results, arm), words={"exploit is": results.headline})
        for own, results in found.items()
        for arm in results.arms
    ]
    return Table(
        name=name, title=title, row_keys=(first, "arm"), columns=MAIN, word_columns=("exploit is",), rows=tuple(rows)
    )


def columns_table(results: Results, name: str) -> Table:
    """Every column of one game: all its scores and detectors, by arm."""
    absent = results.unmeasured
    names = [n for n in (*results.scores, *results.detectors) if n not in absent]
    columns = [Column(key=n, title=f"exploit: {n}" if n == results.headline else n) for n in names]
    rows = [Row(keys={"arm": arm}, cells={n: measure(results, arm, n) for n in names}) for arm in results.arms]
    title = f"{results.game}: every column"
    notes = (f"Not measured in any arm, and left out: {', '.join(absent)}.",) if absent else ()
    return Table(name=name, title=title, row_keys=("arm",), columns=tuple(columns), rows=tuple(rows), notes=notes)


def verdict_of(results: Results, keys: Mapping[str, str]) -> Verdict:
    """The verdict on the loophole, or why there is none."""
    found = results.verdict
    if found is None:
        return Verdict(keys=dict(keys), name="no verdict", sentence=f"No verdict: {results.no_verdict()}.")
    return from_tests(found, keys)


def from_tests(found: verdicts.Verdict | Mitigation, keys: Mapping[str, str]) -> Verdict:
    """A verdict with the tests it rests on."""
    details: dict[str, Any] = {name: asdict(c) for name, c in found.components.items()}
    return Verdict(
        keys=dict(keys), name=found.name, sentence=found.sentence(), p=found.p, descriptive=found.descriptive,
        details=details,
    )  # fmt: skip
