"""An experiment as the page shows it: verdict, curves, tables, shadow rewards, exploits, and what it was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.tables import columns_of, columns_table
from loopkit.evidence.write import grid_of
from loopkit.experiment.config import BASE
from loopkit.records import Estimate, Json
from loopkit.report import charts, shortcut
from loopkit.report.compared import compared
from loopkit.report.gather import ExperimentData, RunData
from loopkit.report.made import made
from loopkit.report.marks import pieces
from loopkit.report.numbers import interval, p_value, percent, plain, without_name
from loopkit.report.rollouts import LONGEST, Row, Shown
from loopkit.report.texts import clusters, telling
from loopkit.stats.seeds import few

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEEN = {"exploit": 0, "task": 1, "observed": 2, "onset": 3}
"""The dual metrics -> their colour; and the detector of onset, where it is not the headline's."""
CARDS = 12
"""First exploits that are shown in full."""


def view(e: ExperimentData, number: int, shown: Shown, sheet: charts.Sheet) -> dict[str, Any]:
    """What the template needs."""
    spec, results = e.spec, e.results
    phrases = telling(shown.said, e.headline or "")
    alike, counted = clusters(r for r in shown.said if r.flags.get(e.headline or "") is True)
    return {
        "id": f"e{number}",
        "name": e.name,
        "title": f"{spec.game}, trained by {spec.trainer} on {spec.model}",
        "split": spec.run.eval_split,
        "headline": e.headline,
        "verdict": _verdict(e),
        "compared": compared(results),
        "examples": shortcut.examples(results),
        "states": _states(e),
        "curves": _curves(e, sheet),
        "onset_detector": e.onset_detector,
        "steps": spec.run.steps,
        "over_seeds": _over_seeds(results) if results else None,
        "every_run": _every_run(e),
        "unmeasured": ", ".join(_unmeasured(e)),
        "few": few(len(e.seeds)),
        "n_seeds": len(e.seeds),
        "shadow": _shadow(e, sheet),
        "mitigations": _mitigations(e),
        "phrases": phrases,
        "first": [[_card(e, row, phrases) for row in rows] for rows in _chosen(shown.first)],
        "first_total": len(shown.first),
        "clusters": [
            {
                "size": c.size, "share": percent(c.size / counted), "different": c.different,
                "arms": ", ".join(f"{a} {n}" for a, n in c.arms.most_common()), "steps": c.steps,
                "text": pieces(c.example.text, phrases), "cut": sum(t.cut for t in c.example.turns), "id": c.example.id,
            }
            for c in alike
        ],
        "counted": counted,
        "made": made(e),
        "tasks_why": e.tasks.why,
        "tiny": spec.model.partition(":")[0] == "tiny",
    }  # fmt: skip


# --- verdict ----------------------------------------------------------------------------------------------------------


def _verdict(e: ExperimentData) -> dict[str, Any]:
    results = e.results
    if results is None:
        done = sum(r.state == "done" for r in e.runs)
        return {"name": "no verdict yet", "sentence": f"{done} of the {len(e.runs)} runs begun are "
                "finished, and `loopkit run` has not written results.json.", "rests": [], "p": None}  # fmt: skip
    claim, checked = results.verdict, results.checked
    if claim is None and results.shortcut:
        return shortcut.verdict(results.shortcut, checked.status)
    if claim is None:
        why = results.no_verdict or "; ".join(checked.reasons)
        return {"name": "no verdict", "sentence": f"{why[:1].upper()}{why[1:]}.", "rests": [], "p": None}
    rests = [
        {"test": name, "estimate": _points(test.estimate), "p": p_value(test.p), "shown": test.shown}
        for name, test in claim.components.items()
    ]
    visible = [f"{contrast.replace('_', ' ')}: {100 * distance:.1f} points"
               for contrast, distance in claim.smallest_visible.items() if distance is not None]  # fmt: skip
    return {
        "name": claim.name, "sentence": without_name(claim.name, claim.sentence), "p": p_value(claim.p),
        "rests": rests, "visible": visible, "seeds": claim.seeds, "status": checked.status,
    }  # fmt: skip


def _points(e: Estimate) -> str:
    if e.low is None or e.high is None:
        return f"{100 * e.value:+.1f} [withheld]"
    return f"{100 * e.value + 0.0:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"


def _states(e: ExperimentData) -> list[dict[str, Any]]:
    """Runs that are not finished, and what was overcome."""
    out = []
    for r in e.runs:
        events = [f"{n['event']}: " + ", ".join(f"{k}: {v}" for k, v in n.items() if k != "event") for n in r.events]
        if r.state != "done" or events:
            last = r.error.strip().splitlines()[-1:] or [""]
            of = r.spec.run.steps if r.trained else 0
            out.append({
                "run": r.name, "state": r.state, "done": len(r.steps), "of": of, "error": last[0][:300],
                "events": [s[:300] for s in events[:5]], "more": max(0, len(events) - 5),
            })  # fmt: skip
    return out


# --- curves -----------------------------------------------------------------------------------------------------------


def _curves(e: ExperimentData, sheet: charts.Sheet) -> list[dict[str, Any]]:
    out = []
    shown = [n for n in (e.headline, e.onset_detector) if n]
    lowest = min(
        (s["rates"][n]["value"] for r in e.runs for s in r.steps for n in shown if s["rates"].get(n)), default=0
    )
    bounds = (min(0.0, 100 * lowest), 100.0)  # one scale for all arms: they are compared
    for arm in e.arms:
        runs = [
            r for r in e.runs if r.spec.arm == arm and r.trained and any(s["rates"] or s["scores"] for s in r.steps)
        ]
        if not runs:
            continue
        data = {
            f"exploit: {e.headline}": [_line(r, "rates", e.headline) for r in runs],
            "task": [_line(r, "scores", "task") for r in runs],
            "observed": [_line(r, "scores", "observed") for r in runs],
        }
        if e.onset_detector != e.headline:
            data[f"onset: {e.onset_detector}"] = [_line(r, "rates", e.onset_detector) for r in runs]
        paths = [(r.spec.seed, e.discovery(r)) for r in runs]
        marks = [(mark, step, k) for k, (_, p) in enumerate(paths) for mark in ("onset", "domination")
                 if p and (step := getattr(p, mark)) is not None]  # fmt: skip
        words = [f"seed {r.spec.seed}: {_path(e, r)}" for r in runs]
        label = f"{e.name}, arm {arm}: exploit rate, task and observed score by step. " + "; ".join(words) + "."

        def draw(axes: Axes, data: Any = data, marks: Any = marks) -> None:
            colours = {name: SEEN[name.partition(":")[0]] for name in data}
            charts.training(axes, data, colours, marks=marks, scale=100, y_title="percent", steps=e.spec.run.steps,
                            bounds=bounds)  # fmt: skip

        out.append({"arm": arm, "svg": sheet.draw(label, draw), "words": words})
    return out


def _line(run: RunData, kind: str, name: str | None) -> tuple[list[float], list[float | None]]:
    ys = [s[kind].get(name) for s in run.steps]
    return [s["step"] for s in run.steps], [y["value"] if isinstance(y, Mapping) else y for y in ys]


def _path(e: ExperimentData, run: RunData) -> str:
    path = e.discovery(run)
    if path is None:
        return "not measured"
    none = "never" if len(run.steps) >= run.spec.run.steps else "not yet"
    steps = {"onset": path.onset, "domination": path.domination}
    return ", ".join(f"{name} {none if step is None else step}" for name, step in steps.items())


# --- tables -----------------------------------------------------------------------------------------------------------


def _columns(e: ExperimentData) -> list[str]:
    """Task and observed, detectors (headline first), further scores of the held-out evaluations that were measured."""
    if e.results:
        return columns_of(e.results)
    blank = _unmeasured(e)
    names = dict.fromkeys(n for r in e.runs if r.summary for n in r.summary.scores)
    first = [n for n in ("task", "observed") if n in names]
    detectors = [d for d in e.detectors if d == e.headline or d not in blank]
    return [*first, *detectors, *(n for n in names if n not in (*first, *blank))]


def _unmeasured(e: ExperimentData) -> list[str]:
    """Scores and detectors without a value in any run: their columns would be blank."""
    measured = [{**r.summary.scores, **r.summary.rates} for r in e.runs if r.summary]
    names = dict.fromkeys(n for values in measured for n in values)
    return [n for n in names if all(values.get(n) is None for values in measured)]


def _over_seeds(results: ExperimentResults) -> dict[str, Any]:
    headers, rows = grid_of(columns_table(results))
    return {"head": headers, "rows": [[row[0], *map(_cut, row[1:])] for row in rows]}


def _every_run(e: ExperimentData) -> dict[str, Any]:
    measures = _columns(e)
    rows = []
    for r in e.runs:
        if r.summary:
            values = {**r.summary.scores, **r.summary.rates}
            cells = [_cut(interval(values.get(m))) for m in measures]
            rows.append([r.spec.arm, str(r.spec.seed), *cells, _path(e, r) if r.trained else "-"])
    titles = [f"exploit: {m}" if m == e.headline else m for m in measures]
    return {"head": ["arm", "seed", *titles, "onset, domination"], "rows": rows}


def _cut(text: str) -> str | tuple[str, str]:
    """The value, and what stands behind it; a reason alone is one text."""
    value, _, rest = text.partition(" ")
    if rest.startswith("of "):  # a count: "3 of 5 [14.7, 94.7]"
        value, _, rest = text.rpartition(" [")
        rest = f"[{rest}"
    return (value, rest) if rest and not text.startswith("(") else text


def _shadow(e: ExperimentData, sheet: charts.Sheet) -> dict[str, Any] | None:
    """Mean held-out reward of every arm under every channel, and the curves in training."""
    channels = list(dict.fromkeys(c for r in e.runs if r.summary for c in r.summary.rewards))
    if not channels:
        return None
    rows = []
    for arm in e.arms:
        seeds = [r.summary.rewards for r in e.runs if r.spec.arm == arm and r.summary]
        if seeds:
            pays = next(r.spec.channel for r in e.runs if r.spec.arm == arm) if arm != BASE else "-"
            rows.append([arm, pays, *(_spread([s[c] for s in seeds if c in s]) for c in channels)])
    curves = []
    others = [c for c in channels if c != "paid"]
    seen = [v for r in e.runs for s in r.steps for c in others if (v := s["rewards"].get(c)) is not None]
    bounds = (min(seen), max(seen)) if seen and min(seen) < max(seen) else None
    for arm in e.arms:
        runs = [r for r in e.runs if r.spec.arm == arm and r.trained and any(s["rewards"] for s in r.steps)]
        if not runs:
            continue
        data = {c: [_line(r, "rewards", c) for r in runs] for c in others}

        def draw(axes: Axes, data: Any = data) -> None:
            charts.training(
                axes, data, {c: k for k, c in enumerate(others)}, y_title="mean reward", steps=e.spec.run.steps,
                bounds=bounds,
            )  # fmt: skip

        label = f"{e.name}, arm {arm}: mean reward in training under every channel, by step"
        curves.append({"arm": arm, "svg": sheet.draw(label, draw)})
    return {"head": ["arm", "pays", *channels], "rows": rows, "curves": curves, "channels": others}


def _spread(values: Sequence[float]) -> str | tuple[str, str]:
    """(mean over seeds, smallest to largest)."""
    if not values:
        return "-"
    mean = plain(sum(values) / len(values))
    return mean if len(values) == 1 else (mean, f"{plain(min(values))} to {plain(max(values))}")


def _mitigations(e: ExperimentData) -> list[dict[str, Any]]:
    fixes = e.results.mitigations if e.results else {}
    if list(fixes) == ["control"]:  # of control alone the verdict speaks
        return []
    return [{"arm": arm, "name": fix.name, "sentence": without_name(fix.name, fix.sentence), "p": p_value(fix.p)}
            for arm in e.arms if (fix := fixes.get(arm))]  # fmt: skip


# --- exploits ---------------------------------------------------------------------------------------------------------


def _chosen(first: Sequence[tuple[Row, ...]]) -> list[tuple[Row, ...]]:
    """Those of the loophole's arm, or else of every arm, the earliest first."""
    of_loophole = [rows for rows in first if rows[-1].run.spec.arm == "loophole"] or list(first)
    return sorted(of_loophole, key=lambda rows: (rows[-1].step or 0, rows[-1].run.spec.seed))[:CARDS]


def _card(e: ExperimentData, row: Row, phrases: Sequence[str]) -> dict[str, Any]:
    path = e.discovery(row.run)
    onset = path.onset if path else None
    if onset is None:
        when = "no onset was shown in this run: it may be chance"
    elif row.step is not None and row.step < onset:
        when = f"before onset (step {onset}): it may be chance"
    else:
        when = f"from onset on (step {onset})"
    marked = [*phrases, *quoted(row.clues)]
    return {
        "id": row.id, "arm": row.run.spec.arm, "seed": row.run.spec.seed, "step": row.step, "task": row.task,
        "when": when,
        "prompt": None if row.prompt is None else [(role, pieces(text[:LONGEST])) for role, text in row.prompt],
        "turns": [(pieces(t.text, marked), t.finish, t.cut, None if t.reply is None else pieces(t.reply[:LONGEST]))
                  for t in row.turns],
        "rewards": {c: plain(v) for c, v in row.rewards.items()},
        "flags": {f: word(v) for f, v in row.flags.items()},
        "clues": {c: word(v) for c, v in row.clues.items()},
        "scores": {s: plain(v) for s, v in row.scores.items()},
    }  # fmt: skip


def quoted(clues: Mapping[str, Json]) -> list[str]:
    """Clues that are words of the text itself: strings of three characters or more."""
    return [v for v in clues.values() if isinstance(v, str) and len(v) > 2]


def word(value: Json) -> str:
    """A flag or clue in a word."""
    if value is None:
        return "abstains"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(value) if isinstance(value, (int, float)) else str(value)[:200]
