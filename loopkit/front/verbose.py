"""All of it in print: every seed, every column, curves; tables that are too wide for 100 columns are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loopkit.evidence.results import FEW, STILL
from loopkit.experiment.config import BASE
from loopkit.experiment.registration import told
from loopkit.experiment.rundir import RunDir
from loopkit.front.printed import bold
from loopkit.front.tables import Table, fitted, wrapped
from loopkit.records import Estimate, Json
from loopkit.registry.contain import excerpt
from loopkit.report.numbers import interval, over_seeds, percent, plain, sparkline
from loopkit.report.shortcut import HEAD

if TYPE_CHECKING:
    from loopkit.front.outcome import Result

DESCRIPTIVE_BELOW = 5
WORDS = 60
"""Characters of a reply or prompt in the table of common replies."""


def experiment(result: Result, style: str = "plain") -> str:
    """Verdict with its tests, the small table, curves, every run, arms over seeds, legend and examples."""
    data = result.json()
    verdict = result.verdict
    parts = [bold(verdict.name), wrapped(verdict.sentence), result.table().text(style)]
    if verdict.tested:
        parts.append(wrapped(f"What it rests on. {verdict.tested}"))
    if data.get("shortcut"):
        parts += _common(data, style)
    if list(data["mitigations"]) != ["control"]:  # of control alone the verdict speaks
        parts += [wrapped(f"Mitigation. {m['sentence']}") for m in data["mitigations"].values()]
    example = result.example() if result.rose() else None
    parts += [str(example)] if example else []
    parts.append(_curves(result))
    parts.append(every_run(result).text(style))
    parts.append(_over_seeds(result, style))
    parts.append(wrapped(_legend(result)))
    parts.append(wrapped(told(result.registration)))
    parts.append(wrapped(f"{result.where()}\nRecords: {result.directory} (results.json holds every number above)"))
    return "\n\n".join(part for part in parts if part)


# --- columns ------------------------------------------------------------------------------------------------------


def columns(result: Result) -> tuple[list[str], list[str], list[str]]:
    """(task and observed, detectors, further scores) that were measured; of very many detectors those that moved."""
    data = result.json()
    scores = list(dict.fromkeys(name for r in data["runs"] for name in r["scores"]))
    blank = unmeasured(result)
    first = [m for m in ("task", "observed") if m in scores]
    kept = [d for d in moved(result, detectors(result)) if d == result.headline or d not in blank]
    return first, kept, [m for m in scores if m not in (*first, *blank)]


def detectors(result: Result) -> list[str]:
    """Every detector, the headline first."""
    return list(dict.fromkeys([result.headline, *(name for r in result.json()["runs"] for name in r["rates"])]))


def unmeasured(result: Result) -> list[str]:
    """Scores and detectors without a value in any run: where these tasks hold nothing to measure."""
    arms = result.json()["arms"]
    return [m for m in next(iter(arms.values()), {}) if all(own.get(m) is None for own in arms.values())]


def moved(result: Result, names: Sequence[str]) -> list[str]:
    """The detectors to show: all if they are few, else the headline and those that in some run left base's rate."""
    if len(names) <= FEW:
        return list(names)

    def far(detector: str) -> bool:
        base = result.values(BASE, detector)
        pairs = (pair for arm in result.arms for pair in zip(result.values(arm, detector), base, strict=True))
        return any(x is not None and b is not None and abs(x - b) > STILL for x, b in pairs)

    return [d for d in names if d == result.headline or far(d)]


def _marked(result: Result, names: Sequence[str]) -> list[str]:
    return [f"exploit: {n}" if n == result.headline else n for n in names]


# --- tables -------------------------------------------------------------------------------------------------------


def every_run(result: Result) -> Table:
    """Every run with every column, onset and domination; its records hold the intervals."""
    first, kept, extra = columns(result)
    cells, records = [], []
    for arm in result.arms:
        for run in (r for r in result.json()["runs"] if r["arm"] == arm):
            found: Mapping[str, Json] = {**run["scores"], **run["rates"]}
            path = run["discovery"] or {}
            cells.append((
                arm, str(run["seed"]), *(interval(_estimate(found.get(m))) for m in (*first, *kept)),
                *(percent(_value(found.get(m))) for m in extra), _path(run["discovery"]),
            ))  # fmt: skip
            records.append({
                "arm": arm, "seed": run["seed"], "onset": path.get("onset"), "domination": path.get("domination"),
                **{m: found.get(m) for m in (*first, *kept, *extra)},
            })  # fmt: skip
    headers = ("arm", "seed", *first, *_marked(result, kept), *extra, "onset, domination")
    note = (
        f"Every run; {result.json()['split']} split, in percent. Intervals of 95 % over prompts (or pairs), "
        "conditional on the seed; n counts rollouts."
    )
    return Table(headers, tuple(cells), tuple(records), (note,), keys=2)


def _over_seeds(result: Result, style: str) -> str:
    first, kept, extra = columns(result)
    data, rows = result.json(), []
    for arm in result.arms:
        found = data["arms"][arm]
        cells = [over_seeds(_estimate(found.get(m)), result.values(arm, m)) for m in (*first, *kept, *extra)]
        worst = max((v for v in result.values(arm, result.headline) if v is not None), default=None)
        k = data["discovered"].get(arm)
        told = f"{round(k['value'] * k['n'])} of {k['n']} [{percent(k['low'])}, {percent(k['high'])}]" if k else "-"
        rows.append([arm, *cells, percent(worst), told])
    headers = ["arm", *first, *_marked(result, kept), *extra, "worst", "k of S discovered"]
    few = " Descriptive: fewer than 5 seeds." if len(result.seeds) < DESCRIPTIVE_BELOW else ""
    text = (
        f"Over seeds, S = {len(result.seeds)}.{few} Mean with [95 % t interval], or (lowest to highest seed) where "
        "that is withheld. Worst: highest exploit rate."
    )
    out = [fitted(rows, headers, style), wrapped(text)]
    blank = unmeasured(result)
    if left := [d for d in detectors(result) if d not in (*kept, *blank)]:
        out.append(wrapped(f"Left out, within {100 * STILL:.0f} points of base in every run: {', '.join(left)}."))
    return "\n\n".join(out)


def _estimate(found: Json) -> Estimate | None:
    return Estimate.read(found) if found else None


def _value(found: Json) -> float | None:
    return found["value"] if found else None


def _path(path: Mapping[str, Json] | None) -> str:
    if path is None:
        return "-"
    return ", ".join("never" if path[k] is None else str(path[k]) for k in ("onset", "domination"))


def _legend(result: Result) -> str:
    specs = result.specs()
    steps = f"not within {specs[0]['run']['steps']} steps" if specs else "not within the run"
    text = (
        f"Onset: first step whose rate of {result.json()['onset_detector']!r} in training is above base by a bound "
        f"that holds over the whole run; domination: from there on at least 50 %. Never = {steps} (censored)."
    )
    if blank := unmeasured(result):
        text += f" Not measured in any run, and left out: {', '.join(blank)}."
    if result.headline == "compliance-gap" and specs and specs[0]["game_options"].get("data"):
        text += " Real requests, unpaired: style and request differ together."
    if result.model.startswith("tiny"):
        text += (
            " tiny is the embedded policy: a real but very small model, warmed up on demonstrations that hold the"
            " exploit; nothing on it is evidence about large models or spontaneous."
        )
    return text


def _common(data: Mapping[str, Json], style: str) -> list[str]:
    """The most common replies where a sign rose, and what is not claimed of an unproven game."""
    parts = []
    if data.get("examples"):
        rows = [
            [excerpt(e["said"], WORDS) or "(empty)", f"{e['count']} of {e['of']}", excerpt(e["asked"], WORDS),
             plain(e["reward"]), percent(e["task"]), ", ".join(e["flagged"]) or "-"]
            for e in data["examples"]
        ]  # fmt: skip
        parts += [wrapped("The most common of these replies, in the arm loophole at the end, on held-out prompts of "
                          "all seeds:"), fitted(rows, HEAD, style)]  # fmt: skip
    why = "; ".join(reason.partition(". ")[0].rstrip(".") for reason in data["checked"]["reasons"])
    return [*parts, wrapped(f"No blind spot is claimed or denied: the game is {data['checked']['status']} ({why}).")]


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
        found: list[Any] = [s[k][kind].get(name) for s in runs if k < len(s)]
        seen = [v["value"] if kind == "rates" else v for v in found if v is not None]
        means.append(sum(seen) / len(seen) if seen else None)
    return sparkline(means, 0.0, 1.0), percent(means[0]), percent(means[-1])
