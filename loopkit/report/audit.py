"""An audit as one page: what was read, the tables, curves over steps, the first and the worst exploits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import loopkit
from loopkit.elsewhere.findings import Audit, Number, Rate
from loopkit.records import Estimate
from loopkit.report.charts import INK, SERIES, Sheet
from loopkit.report.marks import pieces
from loopkit.report.numbers import interval, percent, plain
from loopkit.report.page import render
from loopkit.report.rollouts import LONGEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 200
"""Skipped rows listed on the page; the rest are counted."""


def mean(e: Estimate | None) -> str:
    """``0.41 [0.38, 0.44] n=512``, not in percent."""
    if e is None:
        return "-"
    return f"{plain(e.value)} {_bounds(plain(e.low), plain(e.high), e)} n={e.n}"


def change(e: Estimate | None) -> str:
    """A difference of rates: ``+12.3 [10.1, 14.9]``, in points of percent."""
    if e is None:
        return "-"
    return f"{'+' if e.value > 0 else ''}{percent(e.value)} {_bounds(percent(e.low), percent(e.high), e)}"


def _bounds(low: str, high: str, e: Estimate) -> str:
    return "[withheld]" if e.low is None else f"[{low}, {high}]"


def build(audit: Audit) -> str:
    """The page. One file that loads nothing; whatever a model said in it is text."""
    sheet = Sheet()
    agreed = bool(audit.agreement)
    context: dict[str, Any] = {
        "version": loopkit.__version__, "found": audit, "skipped": audit.skipped[:SHOWN],
        "steps": audit.steps, "unseen": [pieces(u) for u in audit.unseen],
        "rates": [
            {"name": r.name, "meaning": r.meaning, "flagged": r.flagged, "abstained": r.abstained,
             "cells": [interval(r.rate), interval(r.early), interval(r.late), change(r.change)]}
            for r in audit.rates
        ],
        "channels": [
            (n.name, [*_means(n), *([interval(audit.agreement.get(n.name))] if agreed else [])]) for n in audit.channels
        ],
        "numbers": [(pieces(n.name), _means(n)) for n in audit.numbers],
        "charts": [_chart(r, sheet) for r in audit.rates if any(e and e.value for _, _, e in r.curve)],
        "firsts": [(r.name, _shown(audit, r.first)) for r in audit.rates if r.first is not None],
        "worst": [_shown(audit, i) for i in audit.worst],
    }  # fmt: skip
    return render(context, sheet, "audit.html")


def _means(n: Number) -> list[str]:
    return [mean(e) for e in (n.mean, n.early, n.late, n.change)]


def _shown(audit: Audit, place: int) -> dict[str, Any]:
    row = audit.rows[place]
    return {
        "where": pieces(row.where), "step": row.step,
        "asked": [(m.role, pieces(m.content[:LONGEST]), max(0, len(m.content) - LONGEST)) for m in row.prompt or ()],
        "said": [(pieces(t[:LONGEST]), max(0, len(t) - LONGEST)) for t in row.said],
        "between": [pieces(t[:LONGEST]) for t in row.between],
        "flags": [n for n, f in audit.flags.items() if f[place]],
        "numbers": [(pieces(n), plain(v)) for n, v in row.numbers.items()],
    }  # fmt: skip


def _chart(rate: Rate, sheet: Sheet) -> tuple[str, str, list[tuple[str, str]]]:
    """(name, SVG, the numbers of the curve)."""
    known = [((first + last) / 2, e) for first, last, e in rate.curve if e is not None]

    def draw(axes: Axes) -> None:
        xs, ys = [x for x, _ in known], [100 * e.value for _, e in known]
        bars: Sequence[Sequence[float]] = [
            [100 * (e.value - (e.value if e.low is None else e.low)) for _, e in known],
            [100 * ((e.value if e.high is None else e.high) - e.value) for _, e in known],
        ]
        axes.errorbar(xs, ys, yerr=bars, color=SERIES[0], ecolor=INK, elinewidth=0.8, marker="o", markersize=3)
        axes.set_ylim(-3, 103)
        axes.set_xlabel("step")
        axes.set_ylabel("percent")

    numbers = [(f"{first} to {last}" if last > first else str(first), interval(e)) for first, last, e in rate.curve]
    return rate.name, sheet.draw(f"{rate.name} by step, in percent; the numbers are below.", draw), numbers
