"""A study's sections (docs/results.md) as the page shows them. A kind that is not known is shown as a plain table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loopkit.records import Json
from loopkit.report import charts
from loopkit.report.gather import StudyData
from loopkit.report.numbers import p_value, percent, plain, without_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADES = 5
"""Shades of a heat map to either side of nothing."""


def view(study: StudyData, number: int, sheet: charts.Sheet) -> dict[str, Any]:
    """What the template needs."""
    data = study.results
    return {
        "id": f"s{number}",
        "name": study.path.resolve().name,
        "title": data.get("title", study.path.name),
        "what": data.get("what", ""),
        "notes": data.get("notes", []),
        "made": [(k, _text(v)) for k, v in data.get("made", {}).items()],
        "model": data.get("made", {}).get("model", ""),
        "n_runs": len(data.get("runs", [])),
        "sections": [section(s, f"s{number}-{k}", sheet) for k, s in enumerate(_ordered(data.get("sections", [])))],
    }


def _ordered(sections: Sequence[Mapping[str, Json]]) -> list[Mapping[str, Json]]:
    """Verdicts first, the rest in the study's own order."""
    return sorted(sections, key=lambda s: s.get("kind") != "verdicts")


def section(s: Mapping[str, Json], id_: str, sheet: charts.Sheet) -> dict[str, Any]:
    """One section. ``shape`` names how the template shows it."""
    makers: Mapping[str, Callable[[Mapping[str, Json], charts.Sheet], dict[str, Any]]] = {
        "table": _table, "matrix": _matrix, "curve": _curve, "decay": _curve, "onsets": _onsets, "verdicts": _verdicts,
    }  # fmt: skip
    notes = [*s.get("notes", []), *_ranges(s)]
    head = {"id": id_, "title": s.get("title", s.get("name", "")), "notes": notes}
    return {**head, **makers.get(str(s.get("kind")), _unknown)(s, sheet)}


def cell(c: Mapping[str, Json], kind: str) -> dict[str, Any]:
    """A cell in words: the value with its interval, or ``(lowest to highest)`` seed; every seed; why one is missing.

    Why an interval is missing where there is a range is said once below the section, not in every cell.
    """
    show = (lambda v: f"{100 * v + 0.0:+.1f}") if kind == "difference" else percent if kind == "share" else plain
    value = "-" if c["value"] is None else show(c["value"])
    seen = _seen(c)
    bounds = "" if c["low"] is None else f"[{show(c['low'])}, {show(c['high'])}]"
    if seen:
        bounds = f"({show(min(seen))} to {show(max(seen))})"
    seeds = [f"seed {s['seed']}: {'-' if s['value'] is None else show(s['value'])}" for s in c.get("seeds", [])]
    n = f"n = {c['n']} {c['unit']}{'s' * (c['n'] != 1)}" if c.get("unit") and c["n"] else ""
    return {
        "value": value, "bounds": bounds, "n": n, "withheld": None if seen else c.get("withheld"), "seeds": seeds,
    }  # fmt: skip


def _seen(c: Mapping[str, Json]) -> list[float]:
    """The seeds' values that stand for a missing interval; none where there is one, or one value."""
    seen = [s["value"] for s in c.get("seeds", []) if s["value"] is not None]
    return seen if c["value"] is not None and c["low"] is None and len(seen) > 1 else []


def _ranges(s: Mapping[str, Json]) -> list[str]:
    """Why the intervals are missing for which a section shows ranges."""
    found = [c for row in s.get("rows", []) for c in row.get("cells", {}).values()] if s.get("kind") == "table" else []
    found += [c for row in s.get("cells", []) for c in row] if s.get("kind") == "matrix" else []
    found += [p["y"] for line in s.get("lines", []) for p in line["points"]]
    why = sorted({str(c["withheld"]) for c in found if _seen(c)})
    return [f"(Lowest to highest seed), where the interval is withheld: {'; '.join(why)}."] if why else []


def _table(s: Mapping[str, Json], sheet: charts.Sheet) -> dict[str, Any]:
    columns = s["columns"]
    rows = [
        {
            "keys": [r["keys"].get(k, "") for k in s["row_keys"]],
            "cells": [cell(r["cells"][c["key"]], c["kind"]) for c in columns],
            "words": [r.get("words", {}).get(w, "") for w in s.get("word_columns", [])],
        }
        for r in s["rows"]
    ]
    heads = [(c["title"] + _unit(c["kind"]), c.get("what", "")) for c in columns]
    return {
        "shape": "cells",
        "row_keys": s["row_keys"],
        "heads": heads,
        "words": s.get("word_columns", []),
        "rows": rows,
    }


def _unit(kind: str) -> str:
    return {"share": ", %", "difference": ", points", "steps": ", steps"}.get(kind, "")


def _matrix(s: Mapping[str, Json], sheet: charts.Sheet) -> dict[str, Any]:
    kind = s["quantity"]["kind"]
    values = [abs(c["value"]) for row in s["cells"] for c in row if c["value"] is not None]
    top = 1.0 if kind in ("share", "difference") else max(values, default=1.0) or 1.0
    rows = [
        {"name": name, "cells": [{**cell(c, kind), "shade": _shade(c["value"], top)} for c in row]}
        for name, row in zip(s["row_names"], s["cells"], strict=True)
    ]
    return {
        "shape": "matrix", "quantity": s["quantity"]["title"] + _unit(kind), "row_title": s["row_title"],
        "column_title": s["column_title"], "columns": s["column_names"], "rows": rows, "legend": top,
        "scale": [(k, f"{100 * top * k / SHADES:+.0f}" if kind in ("share", "difference") else plain(top * k / SHADES))
                  for k in range(-SHADES, SHADES + 1)],
    }  # fmt: skip


def _shade(value: float | None, top: float) -> int | None:
    return None if value is None else max(-SHADES, min(SHADES, round(SHADES * value / top)))


def _curve(s: Mapping[str, Json], sheet: charts.Sheet) -> dict[str, Any]:
    kind = s["y"]["kind"]
    scale = 100.0 if kind in ("share", "difference") else 1.0
    lines = [line for line in s["lines"] if any(p["y"]["value"] is not None for p in line["points"])]

    def draw(axes: Axes) -> None:
        for k, line in enumerate(lines):
            colour = charts.SERIES[k % 8]
            seen = [p for p in line["points"] if p["y"]["value"] is not None]
            xs, ys = [p["x"] for p in seen], [scale * p["y"]["value"] for p in seen]
            for p in seen:
                for seed in p["y"].get("seeds", []):
                    if seed["value"] is not None:
                        axes.plot([p["x"]], [scale * seed["value"]], "o", markersize=3, alpha=0.5, color=colour)
                if p["y"]["low"] is not None:
                    axes.plot([p["x"]] * 2, [scale * p["y"]["low"], scale * p["y"]["high"]], color=colour, linewidth=1)
            axes.plot(
                xs,
                ys,
                color=colour,
                linestyle=charts.DASHES[k % 8],
                linewidth=2,
                marker="os^Dv<>p"[k % 8],
                markersize=5,
            )
        for mark in s.get("marks", []):
            axes.axvline(mark["x"], color=charts.MUTED, linewidth=1, linestyle=":")
        axes.set_xlabel(s["x_title"])
        axes.set_ylabel(s["y"]["title"] + _unit(kind))

    xs = sorted({p["x"] for line in s["lines"] for p in line["points"]})
    rows = []
    for line in s["lines"]:
        at = {p["x"]: p["y"] for p in line["points"]}
        rows.append({"name": line["name"], "cells": [cell(at[x], kind) if x in at else None for x in xs]})
    label = f"{s['title']}: {s['y']['title']} against {s['x_title']}"
    return {
        "shape": "curve", "svg": sheet.draw(label, draw, (6.0, 3.4)),
        "lines": [line["name"] for line in lines], "x_title": s["x_title"], "xs": [plain(x) for x in xs], "rows": rows,
        "marks": [f"{m['label']} at {plain(m['x'])}" for m in s.get("marks", [])],
        "y_title": s["y"]["title"] + _unit(kind),
    }  # fmt: skip


def _onsets(s: Mapping[str, Json], sheet: charts.Sheet) -> dict[str, Any]:
    groups = s["groups"]
    apart = 0.7 / max(4, *(len(g["onsets"]) for g in groups))  # 1 is between groups

    def draw(axes: Axes) -> None:
        for k, group in enumerate(groups):
            at: Counter[float] = Counter()
            for seed in group["onsets"]:
                censored = seed["value"] is None
                step = group["steps"] if censored else seed["value"]
                height = len(groups) - 1 - k + apart * at[step]  # seeds of one step stand upon each other
                at[step] += 1
                axes.plot([step], [height], markersize=8,
                          marker=">" if censored else "o", color=charts.SERIES[k % 8], linestyle="",
                          markerfacecolor="none" if censored else charts.SERIES[k % 8])  # fmt: skip
        axes.set_yticks(range(len(groups)), [g["name"] for g in reversed(groups)])
        axes.set_ylim(-0.4, len(groups) - 0.1)
        axes.set_xlim(0, 1.04 * max(g["steps"] for g in groups))
        axes.set_xlabel("step of onset")

    rows = [
        [g["name"], ", ".join("never" if o["value"] is None else plain(o["value"]) for o in g["onsets"]),
         str(g["steps"]), _cell_words(g["discovered"]), _cell_words(g["start"])]
        for g in groups
    ]  # fmt: skip
    label = f"{s['title']}: step of onset by group, every seed; open triangles were not reached within the run"
    return {
        "shape": "onsets", "svg": sheet.draw(label, draw, (6.0, 1.2 + 0.5 * len(groups))), "detector": s["detector"],
        "head": ["group", "onset of every seed", "steps", "discovered, %", "exploit rate at start, %"], "rows": rows,
    }  # fmt: skip


def _cell_words(c: Mapping[str, Json]) -> str:
    found = cell(c, "share")
    return f"{found['value']} {found['bounds'] or '(' + str(found['withheld']) + ')'}".strip()


def _verdicts(s: Mapping[str, Json], sheet: charts.Sheet) -> dict[str, Any]:
    items = [
        {
            "keys": ", ".join(v for _, v in sorted(i["keys"].items(), key=lambda kv: kv[0] != "game")),
            "name": i["name"], "sentence": without_name(i["name"], i["sentence"]),
            "p": p_value(i.get("p")), "descriptive": i.get("descriptive", True),
            "details": [(k, _text(v)) for k, v in i.get("details", {}).items()],
        }
        for i in s["items"]
    ]  # fmt: skip
    return {"shape": "verdicts", "items": items}


def _unknown(s: Mapping[str, Json], sheet: charts.Sheet) -> dict[str, Any]:
    rows = [(k, _text(v)) for k, v in s.items() if k not in ("name", "title", "notes")]
    return {"shape": "unknown", "kind": s.get("kind"), "rows": rows}


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        return ", ".join(map(str, value)) or "-"
    return json.dumps(value, ensure_ascii=False)[:2000]
