"""A study's sections (docs/results.md) as the page shows them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from loopkit.evidence.sections import Cell, Curve, Matrix, Onsets, Section, Table, Verdicts
from loopkit.evidence.write import numbers
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
    results = study.results
    sections = sorted(results.sections, key=lambda s: s.kind != "verdicts")  # verdicts first, then the study's order
    return {
        "id": f"s{number}",
        "name": study.path.resolve().name,
        "title": results.title,
        "what": results.what,
        "notes": results.notes,
        "made": [(k, _text(v)) for k, v in results.made.model_dump(mode="json").items()],
        "model": results.made.model,
        "n_runs": len(results.runs),
        "sections": [section(s, f"s{number}-{k}", sheet) for k, s in enumerate(sections)],
    }


def section(s: Section, id_: str, sheet: charts.Sheet) -> dict[str, Any]:
    """One section. ``shape`` names how the template shows it."""
    head = {"id": id_, "title": s.title, "notes": [*s.notes, *_ranges(s)]}
    return {**head, **_shown(s, sheet)}


def _shown(s: Section, sheet: charts.Sheet) -> dict[str, Any]:
    if isinstance(s, Table):
        return _table(s)
    if isinstance(s, Matrix):
        return _matrix(s)
    if isinstance(s, Curve):
        return _curve(s, sheet)
    return _onsets(s, sheet) if isinstance(s, Onsets) else _verdicts(s)


def cell(c: Cell, kind: str) -> dict[str, Any]:
    """A cell in words: the value with its interval, or ``(lowest to highest)`` seed; every seed; why one is missing.

    Why an interval is missing where there is a range is said once below the section, not in every cell.
    """
    show = (lambda v: f"{100 * v + 0.0:+.1f}") if kind == "difference" else percent if kind == "share" else plain
    value = "-" if c.value is None else show(c.value)
    seen = _seen(c)
    bounds = "" if c.low is None else f"[{show(c.low)}, {show(c.high)}]"
    if seen:
        bounds = f"({show(min(seen))} to {show(max(seen))})"
    seeds = [f"seed {s.seed}: {'-' if s.value is None else show(s.value)}" for s in c.seeds]
    n = f"n = {c.n} {c.unit}{'s' * (c.n != 1)}" if c.unit and c.n else ""
    return {
        "value": value, "bounds": bounds, "n": n, "withheld": None if seen else c.withheld, "seeds": seeds,
    }  # fmt: skip


def _seen(c: Cell) -> list[float]:
    """The seeds' values that stand for a missing interval; none where there is one, or one value."""
    seen = [s.value for s in c.seeds if s.value is not None]
    return seen if c.value is not None and c.low is None and len(seen) > 1 else []


def _ranges(s: Section) -> list[str]:
    """Why the intervals are missing for which a section shows ranges."""
    why = sorted({str(c.withheld) for _, _, c in numbers(s) if _seen(c)})
    return [f"(Lowest to highest seed), where the interval is withheld: {'; '.join(why)}."] if why else []


def _table(s: Table) -> dict[str, Any]:
    columns = s.columns
    rows = [
        {
            "keys": [r.keys.get(k, "") for k in s.row_keys],
            "cells": [cell(r.cells[c.key], c.kind) for c in columns],
            "words": [r.words.get(w, "") for w in s.word_columns],
        }
        for r in s.rows
    ]
    heads = [(c.title + _unit(c.kind), c.what) for c in columns]
    return {
        "shape": "cells",
        "row_keys": s.row_keys,
        "heads": heads,
        "words": s.word_columns,
        "rows": rows,
    }


def _unit(kind: str) -> str:
    return {"share": ", %", "difference": ", points", "steps": ", steps"}.get(kind, "")


def _matrix(s: Matrix) -> dict[str, Any]:
    kind = s.quantity.kind
    values = [abs(c.value) for row in s.cells for c in row if c.value is not None]
    top = 1.0 if kind in ("share", "difference") else max(values, default=1.0) or 1.0
    rows = [
        {"name": name, "cells": [{**cell(c, kind), "shade": _shade(c.value, top)} for c in row]}
        for name, row in zip(s.row_names, s.cells, strict=True)
    ]
    return {
        "shape": "matrix", "quantity": s.quantity.title + _unit(kind), "row_title": s.row_title,
        "column_title": s.column_title, "columns": s.column_names, "rows": rows, "legend": top,
        "scale": [(k, f"{100 * top * k / SHADES:+.0f}" if kind in ("share", "difference") else plain(top * k / SHADES))
                  for k in range(-SHADES, SHADES + 1)],
    }  # fmt: skip


def _shade(value: float | None, top: float) -> int | None:
    return None if value is None else max(-SHADES, min(SHADES, round(SHADES * value / top)))


def _curve(s: Curve, sheet: charts.Sheet) -> dict[str, Any]:
    kind = s.y.kind
    scale = 100.0 if kind in ("share", "difference") else 1.0
    lines = [line for line in s.lines if any(p.y.value is not None for p in line.points)]

    def draw(axes: Axes) -> None:
        for k, line in enumerate(lines):
            colour = charts.SERIES[k % 8]
            drawn = [(p, p.y.value) for p in line.points if p.y.value is not None]
            xs, ys = [p.x for p, _ in drawn], [scale * value for _, value in drawn]
            for p, _ in drawn:
                for seed in p.y.seeds:
                    if seed.value is not None:
                        axes.plot([p.x], [scale * seed.value], "o", markersize=3, alpha=0.5, color=colour)
                if p.y.low is not None and p.y.high is not None:
                    axes.plot([p.x] * 2, [scale * p.y.low, scale * p.y.high], color=colour, linewidth=1)
            axes.plot(
                xs,
                ys,
                color=colour,
                linestyle=charts.DASHES[k % 8],
                linewidth=2,
                marker="os^Dv<>p"[k % 8],
                markersize=5,
            )
        for mark in s.marks:
            axes.axvline(mark.x, color=charts.MUTED, linewidth=1, linestyle=":")
        axes.set_xlabel(s.x_title)
        axes.set_ylabel(s.y.title + _unit(kind))

    xs = sorted({p.x for line in s.lines for p in line.points})
    rows = []
    for line in s.lines:
        at = {p.x: p.y for p in line.points}
        rows.append({"name": line.name, "cells": [cell(at[x], kind) if x in at else None for x in xs]})
    label = f"{s.title}: {s.y.title} against {s.x_title}"
    return {
        "shape": "curve", "svg": sheet.draw(label, draw, (6.0, 3.4)),
        "lines": [line.name for line in lines], "x_title": s.x_title, "xs": [plain(x) for x in xs], "rows": rows,
        "marks": [f"{m.label} at {plain(m.x)}" for m in s.marks],
        "y_title": s.y.title + _unit(kind),
    }  # fmt: skip


def _onsets(s: Onsets, sheet: charts.Sheet) -> dict[str, Any]:
    groups = s.groups
    apart = 0.7 / max(4, *(len(g.onsets) for g in groups))  # 1 is between groups

    def draw(axes: Axes) -> None:
        for k, group in enumerate(groups):
            at: Counter[float] = Counter()
            for seed in group.onsets:
                step, censored = (group.steps, True) if seed.value is None else (seed.value, False)
                height = len(groups) - 1 - k + apart * at[step]  # seeds of one step stand upon each other
                at[step] += 1
                axes.plot([step], [height], markersize=8,
                          marker=">" if censored else "o", color=charts.SERIES[k % 8], linestyle="",
                          markerfacecolor="none" if censored else charts.SERIES[k % 8])  # fmt: skip
        axes.set_yticks(range(len(groups)), [g.name for g in reversed(groups)])
        axes.set_ylim(-0.4, len(groups) - 0.1)
        axes.set_xlim(0, 1.04 * max(g.steps for g in groups))
        axes.set_xlabel("step of onset")

    rows = [
        [g.name, ", ".join("never" if o.value is None else plain(o.value) for o in g.onsets),
         str(g.steps), _cell_words(g.discovered), _cell_words(g.start)]
        for g in groups
    ]  # fmt: skip
    label = f"{s.title}: step of onset by group, every seed; open triangles were not reached within the run"
    return {
        "shape": "onsets", "svg": sheet.draw(label, draw, (6.0, 1.2 + 0.5 * len(groups))), "detector": s.detector,
        "head": ["group", "onset of every seed", "steps", "discovered, %", "exploit rate at start, %"], "rows": rows,
    }  # fmt: skip


def _cell_words(c: Cell) -> str:
    words = cell(c, "share")
    return f"{words['value']} {words['bounds'] or '(' + str(words['withheld']) + ')'}".strip()


def _verdicts(s: Verdicts) -> dict[str, Any]:
    items = [
        {
            "keys": ", ".join(v for _, v in sorted(i.keys.items(), key=lambda kv: kv[0] != "game")),
            "name": i.name, "sentence": without_name(i.name, i.sentence),
            "p": p_value(i.p), "descriptive": i.descriptive,
            "details": [(k, _text(v)) for k, v in i.details.items()],
        }
        for i in s.items
    ]  # fmt: skip
    return {"shape": "verdicts", "items": items}


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        return ", ".join(map(str, value)) or "-"
    return json.dumps(value, ensure_ascii=False)[:2000]
