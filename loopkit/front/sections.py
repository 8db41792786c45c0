"""A study's sections as tables: in brief (values alone, minus base in brackets), and whole (every interval)."""

from __future__ import annotations

from collections.abc import Sequence

from loopkit.evidence import sections as schema
from loopkit.evidence.sections import Cell, Column, Curve, Matrix, Onsets, Section, Verdicts
from loopkit.evidence.tables import minus
from loopkit.evidence.write import COUNTED, number, rows_of
from loopkit.experiment.config import BASE
from loopkit.front.tables import Table
from loopkit.records import Json

BRIEF = ("task", "observed", "exploit", "monitor", "tokens", "seconds", "discovered")
"""Of a table that has them, the columns that are shown in brief."""
MOST_ONSETS = 5
"""Seeds whose onsets are spelled out in brief."""


def whole(section: Section) -> Table:
    """Every column with its interval."""
    headers, rows = rows_of(section)
    cells = tuple(tuple(row) for row in rows)
    return Table(tuple(headers), cells, tuple(_records(section)), section.notes, _keys(section))


def brief(section: Section) -> Table:
    """Values alone."""
    if isinstance(section, schema.Table):
        return _table(section)
    if isinstance(section, Matrix):
        headers = (f"{section.row_title} \\ {section.column_title}", *section.column_names)
        rows = [
            (name, *(_value(cell, section.quantity) for cell in cells))
            for name, cells in zip(section.row_names, section.cells, strict=True)
        ]
        note = f"{section.title}: {section.quantity.title}{_unit(section.quantity)}, mean over seeds."
        return Table(headers, tuple(rows), tuple(_records(section)), (note,))
    if isinstance(section, Curve):
        xs = sorted({p.x for line in section.lines for p in line.points})
        points = [{p.x: p.y for p in line.points} for line in section.lines]
        rows = [(f"{x:g}", *(_value(f[x], section.y) if x in f else "" for f in points)) for x in xs]
        note = f"{section.title}: {section.y.title}{_unit(section.y)}, mean over seeds."
        headers = (section.x_title, *(line.name for line in section.lines))
        return Table(headers, tuple(rows), tuple(_records(section)), (note,))
    if isinstance(section, Onsets):
        rows = [
            (g.name, _onsets([s.value for s in g.onsets]), _value(g.discovered, Column(key="share", title="")))
            for g in section.groups
        ]
        note = f"{section.title}: first step shown to be above base, by seed."
        return Table(("group", "onset", "found it"), tuple(rows), tuple(_records(section)), (note,))
    return whole(section)


def _table(section: schema.Table) -> Table:
    shown = [c for c in section.columns if c.key in BRIEF] or list(section.columns)
    base = {_others(row): row for row in section.rows if row.keys.get("arm") == BASE}
    rows = []
    for row in section.rows:
        start = None if row.keys.get("arm") == BASE else base.get(_others(row))
        cells = [in_brackets(row.cells[c.key], start.cells[c.key] if start else None, c) for c in shown]
        words = [row.words.get(w, "") for w in section.word_columns if w != "exploit is"]
        rows.append((*(row.keys.get(k, "") for k in section.row_keys), *cells, *words))
    titles = ["found it" if c.key == "discovered" else c.title for c in shown]
    words_ = [w for w in section.word_columns if w != "exploit is"]
    units = "Percent" if any(c.kind in ("share", "difference") for c in shown) else "Values"
    note = f"{section.title.partition(':')[0]}. {units}, mean over seeds{'; in brackets: minus base' * bool(base)}."
    return Table((*section.row_keys, *titles, *words_), tuple(rows), tuple(_records(section)), (note,),
                 len(section.row_keys))  # fmt: skip


def _others(row: schema.Row) -> tuple[tuple[str, str], ...]:
    """What names a row besides its arm."""
    return tuple((k, v) for k, v in row.keys.items() if k != "arm")


def in_brackets(cell: Cell, base: Cell | None, column: Column) -> str:
    """``63.4 (+0.4)``: the value and, where there is a base, minus base."""
    text = _value(cell, column)
    difference = minus(cell, base)
    if column.kind != "share" or difference is None or COUNTED.search(cell.method):
        return text
    return f"{text} ({round(100 * difference, 1) + 0.0:+.1f})"


def _value(cell: Cell, column: Column) -> str:
    if cell.value is None:
        return "-"
    counted = COUNTED.search(cell.method)
    return f"{counted[1]} of {counted[2]}" if counted else number(cell.value, column)


def _onsets(steps: Sequence[float | None]) -> str:
    if len(steps) > MOST_ONSETS:
        reached = [s for s in steps if s is not None]
        return f"{len(reached)} seeds" + (f", {min(reached):.0f} to {max(reached):.0f}" if reached else "")
    return ", ".join("never" if s is None else f"{s:.0f}" for s in steps)


def _unit(column: Column) -> str:
    return {"share": ", in percent", "difference": ", in points"}.get(column.kind, "")


def _keys(section: Section) -> int:
    return len(section.row_keys) if isinstance(section, schema.Table) else 1


def _records(section: Section) -> list[dict[str, Json]]:
    """One dict a row, numbers as in ``results.json``."""
    if isinstance(section, schema.Table):
        return [{**row.keys, **{k: c.value for k, c in row.cells.items()}, **row.words} for row in section.rows]
    if isinstance(section, Matrix):
        pairs = zip(section.row_names, section.cells, strict=True)
        return [
            {section.row_title: name, **{n: c.value for n, c in zip(section.column_names, cells, strict=True)}}
            for name, cells in pairs
        ]
    if isinstance(section, Curve):
        return [
            {"line": line.name, section.x_title: p.x, section.y.key: p.y.value, "low": p.y.low, "high": p.y.high}
            for line in section.lines for p in line.points
        ]  # fmt: skip
    if isinstance(section, Onsets):
        return [
            {"group": g.name, "onsets": [s.value for s in g.onsets], "discovered": g.discovered.value}
            for g in section.groups
        ]
    assert isinstance(section, Verdicts)
    return [{**i.keys, "name": i.name, "sentence": i.sentence, "p": i.p} for i in section.items]
