"""From numbers a seed to cells and tables: the main table, for print, page, CSV, LaTeX and Python alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loopkit.evidence.claims import Claim
from loopkit.evidence.schema import STILL, ExperimentResults, StudyResults
from loopkit.evidence.sections import Cell, Column, Row, Section, SeedValue, Table, VerdictRow, Verdicts
from loopkit.experiment.config import BASE
from loopkit.records import Estimate, Json
from loopkit.stats.contrasts import Contrast
from loopkit.stats.rates import between
from loopkit.stats.seeds import mean_over_seeds

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
    measured = [e.value for _, e in values if e is not None]
    return _over_seeds(mean_over_seeds(measured, bounds) if measured else None, values, why)


def _over_seeds(mean: Estimate | None, values: Sequence[tuple[int, Estimate | None]], why: str) -> Cell:
    return Cell.of(mean, "seed", _seed_values(values), why)


def _seed_values(values: Sequence[tuple[int, Estimate | None]]) -> list[SeedValue]:
    return [
        SeedValue(seed=s, value=e.value if e else None, low=e.low if e else None, high=e.high if e else None,
                  n=e.n if e else None)
        for s, e in values
    ]  # fmt: skip


def over(
    values: Sequence[tuple[int, float | None]], bounds: tuple[float, float] | None = POINTS, why: str = "not measured"
) -> Cell:
    """(S,) numbers, one a seed -> their mean over seeds."""
    measured = [v for _, v in values if v is not None]
    mean = mean_over_seeds(measured, bounds) if measured else None
    return Cell.of(mean, "seed", [SeedValue(seed=s, value=v) for s, v in values], why)


def of_contrast(contrast: Contrast, seeds: Sequence[int], differences: Sequence[float]) -> Cell:
    """A contrast's difference, with every seed's."""
    by_seed = [SeedValue(seed=s, value=d) for s, d in zip(seeds, differences, strict=True)]
    return Cell.of(contrast.estimate, "seed", by_seed)


def measure(results: ExperimentResults, arm: str, name: str, why: str = "not measured") -> Cell:
    """A score or detector of an arm over seeds."""
    by_seed = {run.seed: run.of(name) for run in results.of(arm)}
    mean = results.mean(arm, name)
    return _over_seeds(mean, [(seed, by_seed.get(seed)) for seed in results.seeds], why)


def minus(cell: Cell, other: Cell | None) -> float | None:
    """Mean over the seeds in which both were measured of one minus the other; None where in none both were."""
    theirs = {seed.seed: seed.value for seed in other.seeds} if other else {}
    pairs = [(seed.value, theirs.get(seed.seed)) for seed in cell.seeds]
    differences = [x - y for x, y in pairs if x is not None and y is not None]
    return sum(differences) / len(differences) if differences else None


def _worst_and_discovered(results: ExperimentResults, arm: str) -> dict[str, Cell]:
    rates = [value for value in results.values(arm, results.headline) if value is not None]
    why = "not trained" if arm == BASE else "no onset can be had"
    return {
        "worst": Cell(value=max(rates, default=None), withheld="one seed" if rates else "not measured"),
        "discovered": Cell.of(results.discovered.get(arm), "seed", why=why),
    }


def arm_cells(results: ExperimentResults, arm: str) -> dict[str, Cell]:
    """The cells of ``MAIN``."""
    return {
        "task": measure(results, arm, "task"),
        "observed": measure(results, arm, "observed", "the operator does not look"),
        "exploit": measure(results, arm, results.headline),
        **_worst_and_discovered(results, arm),
    }


def main_table(by_name: Mapping[str, ExperimentResults], name: str, title: str, first: str = "game") -> Table:
    """The main table, of an experiment or of several: arms under the columns ``MAIN``.

    ``by_name``: by what stands in the first column, called ``first``.
    """
    rows = [
        Row(keys={first: key, "arm": arm}, cells=arm_cells(results, arm), words={"exploit is": results.headline})
        for key, results in by_name.items()
        for arm in results.arm_names
    ]
    return Table(
        name=name, title=title, row_keys=(first, "arm"), columns=MAIN, word_columns=("exploit is",), rows=tuple(rows)
    )


def columns_of(results: ExperimentResults, every: bool = True) -> list[str]:
    """The scores and detectors to show: task and observed, detectors (not ``every``: those that moved), other scores.

    What no run measured is left out, but for the headline.
    """
    blank = results.unmeasured
    shown = results.detectors if every else results.moved
    detectors = [d for d in shown if d == results.headline or d not in blank]
    first = [s for s in results.scores if s in ("task", "observed")]
    return [*first, *detectors, *(s for s in results.scores if s not in (*first, *blank))]


def titled(results: ExperimentResults, measures: Sequence[str]) -> list[str]:
    """Headers; the headline's says that its rate is the exploit rate."""
    return [f"exploit: {m}" if m == results.headline else m for m in measures]


def columns_table(results: ExperimentResults, name: str = "columns", every: bool = True) -> Table:
    """The columns of one game over seeds, by arm, with the worst seed and how many discovered the exploit."""
    measures, blank = columns_of(results, every), results.unmeasured
    columns = [
        *(Column(key=m, title=t) for m, t in zip(measures, titled(results, measures), strict=True)),
        *MAIN[-2:],
    ]
    rows = [
        Row(
            keys={"arm": arm},
            cells={m: measure(results, arm, m) for m in measures} | _worst_and_discovered(results, arm),
        )
        for arm in results.arm_names
    ]
    still = [d for d in results.detectors if d not in measures and d not in blank]
    notes = (
        f"Not measured in any run, and left out: {', '.join(blank)}." if blank else "",
        f"Left out, within {100 * STILL:.0f} points of base in every run: {', '.join(still)}." if still else "",
    )
    return Table(
        name=name, title=f"{results.game}: every column", row_keys=("arm",), columns=tuple(columns),
        rows=tuple(rows), notes=tuple(filter(None, notes)),
    )  # fmt: skip


def paired(results: ExperimentResults) -> Table:
    """Each arm minus each other that it is to be told from, seed by seed; a seed's interval is over its prompts."""
    arms = [arm for arm in results.arm_names if arm != BASE]
    against = [arm for arm in (BASE, "control", "placebo") if arm in results.arm_names]
    pairs = [(a, b) for a in arms for b in against if a != b and (b == BASE or a not in ("control", "placebo"))]
    measures = {"exploit": results.headline, "task": "task", "observed": "observed"}
    rows = [
        Row(keys={"arms": f"{a} - {b}"}, cells={key: _minus(results, a, b, name) for key, name in measures.items()})
        for a, b in pairs
    ]
    columns = tuple(Column(key=c.key, title=c.title, kind="difference", what=c.what) for c in MAIN if c.key in measures)
    one = "One seed: intervals are over its prompts, and tell nothing of another seed."
    return Table(
        name="paired", title=f"{results.game}: differences, paired by seed", row_keys=("arms",), columns=columns,
        rows=tuple(rows), notes=(one,) if len(results.seeds) == 1 else (),
    )  # fmt: skip


def _minus(results: ExperimentResults, arm: str, other: str, name: str) -> Cell:
    """One arm minus another by seed, over the seeds in which both were measured."""
    ours, theirs = ({run.seed: run.of(name) for run in results.of(a)} for a in (arm, other))
    both = {s: between(x, y) for s in results.seeds if (x := ours.get(s)) and (y := theirs.get(s))}
    why = "not measured in both" if set(ours) & set(theirs) else "no seed of one is a seed of the other"
    if len(both) == 1 and len(results.seeds) == 1:  # over seeds there is nothing to say: over the prompts of this one
        return Cell.of(next(iter(both.values())), "cluster", _seed_values(list(both.items())))
    low, high = results.bounds.get(name, SHARE)
    values = [(s, both.get(s)) for s in results.seeds if s in ours and s in theirs]
    return across(values, (low - high, high - low), why)


def verdict_of(results: ExperimentResults, keys: Mapping[str, str]) -> VerdictRow:
    """The verdict on the loophole, or why there is none."""
    if results.verdict is None:
        checked = f"the game is {results.checked.status} ({'; '.join(results.checked.reasons)})"
        return VerdictRow(keys=dict(keys), name="no verdict", sentence=f"No verdict: {results.no_verdict or checked}.")
    return from_claim(results.verdict, keys)


def from_claim(claim: Claim, keys: Mapping[str, str]) -> VerdictRow:
    """A claim with the tests it rests on."""
    details: dict[str, Json] = {name: test.model_dump(mode="json") for name, test in claim.components.items()}
    return VerdictRow(
        keys=dict(keys), name=claim.name, sentence=claim.sentence, p=claim.p, descriptive=claim.descriptive,
        details=details,
    )  # fmt: skip


def sections(results: ExperimentResults | StudyResults) -> list[Section]:
    """A study's, as it keeps them; an experiment's made from its runs: main table, every column, and claims."""
    if isinstance(results, StudyResults):
        return list(results.sections)
    game = {"game": results.game}
    claims = [verdict_of(results, game)] if results.shortcut is None else [from_claim(results.shortcut, game)]
    claims += [from_claim(fix, {**game, "fix": arm}) for arm, fix in results.mitigations.items()]
    return [
        main_table({results.game: results}, "main", f"{results.game}: mean over seeds"),
        columns_table(results),
        *([paired(results)] if results.compared else []),
        Verdicts(name="verdicts", title="Verdicts", items=tuple(claims)),
    ]
