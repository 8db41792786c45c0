"""An experiment as the page shows it: verdict, curves, tables, shadow rewards, exploits, and what it was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loopkit.experiment.config import BASE
from loopkit.records import Estimate, Json
from loopkit.report import charts, shortcut
from loopkit.report.gather import ExperimentData, RunData
from loopkit.report.made import made
from loopkit.report.marks import pieces
from loopkit.report.numbers import interval, over_seeds, p_value, percent, plain, shown, without_name
from loopkit.report.rollouts import LONGEST, Row, Shown
from loopkit.report.texts import clusters, telling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEEN = {"exploit": 0, "task": 1, "observed": 2, "onset": 3}
"""The dual metrics -> their colour; and the detector of onset, where it is not the headline's."""
CARDS = 12
"""First exploits that are shown in full."""
FEW = 5
"""Below so many seeds a result is descriptive."""


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
        "examples": shortcut.examples(results),
        "states": _states(e),
        "curves": _curves(e, sheet),
        "onset_detector": e.onset_detector,
        "steps": spec.run.steps,
        "over_seeds": _over_seeds(e) if results else None,
        "every_run": _every_run(e),
        "unmeasured": ", ".join(_unmeasured(e)),
        "few": len(e.seeds) < FEW,
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
    found, checked = results["verdict"], results["checked"]
    if found is None and results.get("shortcut"):
        return shortcut.verdict(results["shortcut"], checked["status"])
    if found is None:
        why = results.get("no_verdict") or "; ".join(checked["reasons"])
        return {"name": "no verdict", "sentence": f"{why[:1].upper()}{why[1:]}.", "rests": [], "p": None}
    rests = [
        {"test": test, "estimate": _points(c["estimate"]), "p": p_value(c["p"]), "shown": shown(c)}
        for test, c in found["components"].items()
    ]
    visible = [f"{contrast.replace('_', ' ')}: {100 * v:.1f} points"
               for contrast, v in found["smallest_visible"].items() if v is not None]  # fmt: skip
    return {
        "name": found["name"], "sentence": without_name(found["name"], found["sentence"]),
        "p": p_value(found["p"]), "rests": rests,
        "visible": visible, "seeds": found["seeds"], "status": checked["status"],
    }  # fmt: skip


def _points(e: Mapping[str, Json]) -> str:
    if e["low"] is None:
        return f"{100 * e['value']:+.1f} [withheld]"
    return f"{100 * e['value'] + 0.0:+.1f} [{100 * e['low']:+.1f}, {100 * e['high']:+.1f}]"


def _states(e: ExperimentData) -> list[dict[str, Any]]:
    """Runs that are not finished, and what was overcome."""
    out = []
    for r in e.runs:
        said = [f"{n['event']}: " + ", ".join(f"{k}: {v}" for k, v in n.items() if k != "event") for n in r.events]
        if r.state != "done" or said:
            last = r.error.strip().splitlines()[-1:] or [""]
            of = r.spec.run.steps if r.trained else 0
            out.append({
                "run": r.name, "state": r.state, "done": len(r.steps), "of": of, "error": last[0][:300],
                "events": [s[:300] for s in said[:5]], "more": max(0, len(said) - 5),
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
        marks = [(what, p[what], k) for k, (_, p) in enumerate(paths) for what in ("onset", "domination")
                 if p and p[what] is not None]  # fmt: skip
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
    return ", ".join(f"{w} {none if path[w] is None else path[w]}" for w in ("onset", "domination"))


# --- tables -----------------------------------------------------------------------------------------------------------


def _columns(e: ExperimentData) -> tuple[list[str], list[str]]:
    """(scores, task and observed first; detectors, headline first) of the held-out evaluations, but those never
    measured: see ``_unmeasured``."""
    names = dict.fromkeys(n for r in e.runs if r.summary for n in r.summary["scores"])
    first, left_out = [n for n in ("task", "observed") if n in names], _unmeasured(e)
    others = [n for n in names if n not in first and n not in left_out]
    return [*first, *others], [d for d in e.detectors if d == e.headline or d not in left_out]


def _unmeasured(e: ExperimentData) -> list[str]:
    """Scores and detectors without a value in any run: their columns would be blank."""
    found = [{**r.summary["scores"], **r.summary["rates"]} for r in e.runs if r.summary]
    names = dict.fromkeys(n for f in found for n in f)
    return [n for n in names if all(_value(f.get(n)) is None for f in found)]


def _titles(e: ExperimentData) -> list[str]:
    scores, detectors = _columns(e)
    return [*scores[:2], *(f"exploit: {d}" if d == e.headline else d for d in detectors), *scores[2:]]


def _over_seeds(e: ExperimentData) -> dict[str, Any]:
    results = e.results
    assert results is not None
    scores, detectors = _columns(e)
    rows = []
    for arm in [a for a in e.arms if a in results["arms"]]:
        found = results["arms"][arm]
        here = [{**r["scores"], **r["rates"]} for r in results["runs"] if r["arm"] == arm]
        cells = [
            _cut(over_seeds(Estimate.read(found[m]) if found.get(m) else None, [_value(r.get(m)) for r in here]))
            for m in [*scores[:2], *detectors, *scores[2:]]
        ]
        worst = max((v for r in here if (v := _value(r.get(e.headline))) is not None), default=None)
        k = results["discovered"].get(arm)
        discovered: Any = "-"
        if k is not None:
            discovered = f"{round(k['value'] * k['n'])} of {k['n']}", f"[{percent(k['low'])}, {percent(k['high'])}]"
        rows.append([arm, *cells, percent(worst), discovered])
    return {"head": ["arm", *_titles(e), "worst", "k of S discovered"], "rows": rows}


def _every_run(e: ExperimentData) -> dict[str, Any]:
    scores, detectors = _columns(e)
    rows = []
    for r in e.runs:
        if r.summary:
            found = {**r.summary["scores"], **r.summary["rates"]}
            cells = [_estimate(found.get(m)) for m in [*scores[:2], *detectors, *scores[2:]]]
            rows.append([r.spec.arm, str(r.spec.seed), *cells, _path(e, r) if r.trained else "-"])
    return {"head": ["arm", "seed", *_titles(e), "onset, domination"], "rows": rows}


def _value(found: Any) -> float | None:
    return found["value"] if found else None


def _estimate(found: Any) -> str | tuple[str, str]:
    """(value, interval and n), or a dash."""
    return _cut(interval(Estimate.read(found) if found else None))


def _cut(text: str) -> str | tuple[str, str]:
    """The value, and what stands behind it."""
    value, _, bounds = text.partition(" ")
    return (value, bounds) if bounds else value


def _shadow(e: ExperimentData, sheet: charts.Sheet) -> dict[str, Any] | None:
    """Mean held-out reward of every arm under every channel, and the curves in training."""
    channels = list(dict.fromkeys(c for r in e.runs if r.summary for c in r.summary["rewards"]))
    if not channels:
        return None
    rows = []
    for arm in e.arms:
        seeds = [r.summary["rewards"] for r in e.runs if r.spec.arm == arm and r.summary]
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
    found = (e.results or {}).get("mitigations") or {}
    if list(found) == ["control"]:  # of control alone the verdict speaks
        return []
    return [{"arm": arm, "name": m["name"], "sentence": without_name(m["name"], m["sentence"]), "p": p_value(m["p"])}
            for arm in e.arms if (m := found.get(arm))]  # fmt: skip


# --- exploits ---------------------------------------------------------------------------------------------------------


def _chosen(first: Sequence[tuple[Row, ...]]) -> list[tuple[Row, ...]]:
    """Those of the loophole's arm, or else of every arm, the earliest first."""
    own = [rows for rows in first if rows[-1].run.spec.arm == "loophole"] or list(first)
    return sorted(own, key=lambda rows: (rows[-1].step or 0, rows[-1].run.spec.seed))[:CARDS]


def _card(e: ExperimentData, row: Row, phrases: Sequence[str]) -> dict[str, Any]:
    onset = (e.discovery(row.run) or {}).get("onset")
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
