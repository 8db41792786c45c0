"""All of it in print: every seed, every column, curves; tables that are too wide for 100 columns are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.tables import columns_of, columns_table, titled
from loopkit.evidence.write import grid_of
from loopkit.experiment.config import BASE
from loopkit.experiment.registration import told
from loopkit.experiment.rundir import RunDir
from loopkit.front.printed import bold
from loopkit.front.tables import Table, fitted, wrapped
from loopkit.records import Json
from loopkit.registry.contain import excerpt
from loopkit.report.numbers import interval, percent, plain, sparkline
from loopkit.report.shortcut import HEAD
from loopkit.stats.onset import Discovery
from loopkit.stats.seeds import FEWER, few

if TYPE_CHECKING:
    from loopkit.front.outcome import Result

WORDS = 60
"""Characters of a reply or prompt in the table of common replies."""


def experiment(result: Result, style: str = "plain") -> str:
    """Verdict with its tests, the small table, curves, every run, arms over seeds, legend and examples."""
    results, verdict = result.results, result.verdict
    parts = [bold(verdict.name), wrapped(verdict.sentence), result.table().text(style)]
    if verdict.tested:
        parts.append(wrapped(f"What it rests on. {verdict.tested}"))
    if results.shortcut:
        parts += _common(results, style)
    if list(results.mitigations) != ["control"]:  # of control alone the verdict speaks
        parts += [wrapped(f"Mitigation. {fix.sentence}") for fix in results.mitigations.values()]
    example = result.example() if result.rose() else None
    parts += [str(example)] if example else []
    parts.append(_curves(result))
    parts.append(every_run(result).text(style))
    parts.append(_over_seeds(result, style))
    parts.append(wrapped(_legend(result)))
    parts.append(wrapped(told(result.registration)))
    parts.append(wrapped(f"{result.where()}\nRecords: {result.directory} (results.json holds every number above)"))
    return "\n\n".join(part for part in parts if part)


# --- tables -------------------------------------------------------------------------------------------------------


def every_run(result: Result) -> Table:
    """Every run with every column, onset and domination; its records hold the intervals."""
    results = result.results
    measures = columns_of(results, every=False)
    whole = [m for m in measures if m in ("task", "observed") or m in results.detectors]
    cells, records = [], []
    for run in (run for arm in result.arms for run in results.of(arm)):
        values = {m: run.of(m) for m in measures}
        path = run.discovery
        cells.append((
            run.arm, str(run.seed),
            *(interval(e) if m in whole else percent(e.value if e else None) for m, e in values.items()), _path(path),
        ))  # fmt: skip
        records.append({
            "arm": run.arm, "seed": run.seed, "onset": path and path.onset, "domination": path and path.domination,
            **{m: e.json() if e else None for m, e in values.items()},
        })  # fmt: skip
    headers = ("arm", "seed", *titled(results, measures), "onset, domination")
    note = (
        f"Every run; {results.split} split, in percent. Intervals of 95 % over prompts (or pairs), "
        "conditional on the seed; n counts rollouts."
    )
    return Table(headers, tuple(cells), tuple(records), (note,), keys=2)


def _over_seeds(result: Result, style: str) -> str:
    table = columns_table(result.results, every=False)
    headers, rows = grid_of(table)
    descriptive = f" Descriptive: {FEWER}." if few(len(result.seeds)) else ""
    text = (
        f"Over seeds, S = {len(result.seeds)}.{descriptive} Mean with [95 % t interval], or (lowest to highest seed) "
        "where that is withheld. Worst: highest exploit rate."
    )
    return "\n\n".join([fitted(rows, headers, style), wrapped(text), *map(wrapped, table.notes)])


def _path(path: Discovery | None) -> str:
    if path is None:
        return "-"
    return ", ".join("never" if step is None else str(step) for step in (path.onset, path.domination))


def _legend(result: Result) -> str:
    specs = result.specs()
    steps = f"not within {specs[0]['run']['steps']} steps" if specs else "not within the run"
    text = (
        f"Onset: first step whose rate of {result.results.onset_detector!r} in training is above base by a bound "
        f"that holds over the whole run; domination: from there on at least 50 %. Never = {steps} (censored)."
    )
    if result.headline == "compliance-gap" and specs and specs[0]["game_options"].get("data"):
        text += " Real requests, unpaired: style and request differ together."
    if result.model.startswith("tiny"):
        text += (
            " tiny is the embedded policy: a real but very small model, warmed up on demonstrations that hold the"
            " exploit; nothing on it is evidence about large models or spontaneous."
        )
    return text


def _common(results: ExperimentResults, style: str) -> list[str]:
    """The most common replies where a sign rose, and what is not claimed of an unproven game."""
    parts = []
    if results.examples:
        rows = [
            [excerpt(reply.said, WORDS) or "(empty)", f"{reply.count} of {reply.of}", excerpt(reply.asked, WORDS),
             plain(reply.reward), percent(reply.task), ", ".join(reply.flagged) or "-"]
            for reply in results.examples
        ]  # fmt: skip
        parts += [wrapped("The most common of these replies, in the arm loophole at the end, on held-out prompts of "
                          "all seeds:"), fitted(rows, HEAD, style)]  # fmt: skip
    why = "; ".join(reason.partition(". ")[0].rstrip(".") for reason in results.checked.reasons)
    return [*parts, wrapped(f"No blind spot is claimed or denied: the game is {results.checked.status} ({why}).")]


# --- curves -------------------------------------------------------------------------------------------------------


def _curves(result: Result) -> str:
    """Each arm's curves in training as a row of blocks, mean over seeds, all on one scale from 0 to 100 %."""
    rows, last = [], 0
    for arm in result.arms:
        runs = [RunDir(result.directory / f"{arm}-s{seed}") for seed in result.seeds]
        steps = [run.steps() for run in runs if arm != BASE and (run.path / "steps.jsonl").exists()]
        last = max([last, *(len(run) - 1 for run in steps)])
        for name, kind in ((result.headline, "rates"), ("task", "scores"), ("observed", "scores")):
            if any(steps):
                rows.append([arm, f"exploit: {name}" if kind == "rates" else name, *curve(steps, kind, name)])
    if not rows:
        return ""
    title = f"In training, mean over seeds, from 0 to 100 % (step 0 to {last})."
    return f"{title}\n\n{fitted(rows, ['arm', 'measure', 'by step', 'first', 'last'])}"


def curve(runs: Sequence[Sequence[Mapping[str, Json]]], kind: str, name: str) -> tuple[str, str, str]:
    """(sparkline, first, last) of the mean over runs of a number in steps.jsonl."""
    means: list[float | None] = []
    for k in range(max(map(len, runs))):
        at_step: list[Any] = [s[k][kind].get(name) for s in runs if k < len(s)]
        seen = [v["value"] if kind == "rates" else v for v in at_step if v is not None]
        means.append(sum(seen) / len(seen) if seen else None)
    return sparkline(means, 0.0, 1.0), percent(means[0]), percent(means[-1])
