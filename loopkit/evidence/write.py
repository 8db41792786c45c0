"""Results as JSON, CSV and LaTeX (docs/results.md)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from loopkit.evidence.schema import ExperimentResults, StudyResults
from loopkit.evidence.sections import Cell, Column, Curve, Matrix, Onsets, Section, Table, Verdicts
from loopkit.evidence.tables import sections
from loopkit.system.files import to_json, write_whole

COUNTED = re.compile(r"^clopper-pearson, (\d+) of (\d+)")
HEADER = ("section", "kind", "keys", "column", "seed", "value", "low", "high", "n", "unit", "method", "withheld")


def all_of(results: ExperimentResults | StudyResults, out: Path) -> None:
    """Write ``results.json``, ``results.csv`` and ``table.tex``, each whole; one that is as it was is left alone."""
    for name, data in (
        ("results.csv", to_csv(results).encode()),
        ("table.tex", to_latex(results).encode()),
        ("results.json", to_json(results.model_dump(mode="json"))),
    ):
        file = out / name
        if not file.exists() or file.read_bytes() != data:
            write_whole(file, data)


# --- CSV ------------------------------------------------------------------------------------------------------


def to_csv(results: ExperimentResults | StudyResults) -> str:
    """One row a number: over seeds, and below it every seed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    for section in sections(results):
        for keys, column, cell in numbers(section):
            head = [section.name, section.kind, "; ".join(f"{k}={v}" for k, v in keys.items()), column]
            shown = [cell.value, cell.low, cell.high, cell.n, cell.unit, cell.method, cell.withheld]
            writer.writerow([_inert(x) for x in [*head, "", *shown]])
            for seed in cell.seeds:
                numbers_of_seed = [seed.seed, seed.value, seed.low, seed.high, seed.n, "cluster", "", ""]
                writer.writerow([_inert(x) for x in [*head, *numbers_of_seed]])
    return buffer.getvalue()


def numbers(section: Section) -> Iterator[tuple[dict[str, str], str, Cell]]:
    """(keys, column, cell) of every number of a section."""
    if isinstance(section, Table):
        for row in section.rows:
            for key, cell in row.cells.items():
                yield row.keys, key, cell
    elif isinstance(section, Matrix):
        for name, cells in zip(section.row_names, section.cells, strict=True):
            for column, cell in zip(section.column_names, cells, strict=True):
                yield {section.row_title: name, section.column_title: column}, section.quantity.key, cell
    elif isinstance(section, Curve):
        for line in section.lines:
            for point in line.points:
                yield {"line": line.name, section.x_title: f"{point.x:g}"}, section.y.key, point.y
    elif isinstance(section, Onsets):
        for group in section.groups:
            yield {"group": group.name}, "start", group.start
            yield {"group": group.name}, "discovered", group.discovered
            steps = Cell(value=None, withheld="censored times have no mean", unit="seed", seeds=group.onsets)
            yield {"group": group.name}, "onset", steps
    elif isinstance(section, Verdicts):
        for item in section.items:
            none = "no claim" if item.p is None else "a p-value"
            yield item.keys, f"p of {item.name}", Cell(value=item.p, withheld=none, unit="seed")


def _inert(value: object) -> object:
    """A spreadsheet runs text that begins with these; a quote before it keeps it text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


# --- LaTeX ----------------------------------------------------------------------------------------------------


def to_latex(results: ExperimentResults | StudyResults) -> str:
    """A booktabs ``tabular`` a table or matrix; special characters are escaped by tabulate."""
    command = f"study {results.study}" if isinstance(results, StudyResults) else f"run --game {_line(results.game)}"
    parts = [f"% loopkit {command}; needs \\usepackage{{booktabs}}. In percent, with 95 % intervals."]
    for section in sections(results):
        if isinstance(section, Table | Matrix):
            headers, rows = grid_of(section)
            body = tabulate(rows, headers, tablefmt="latex_booktabs", disable_numparse=True)
            parts.append(f"% {_line(section.name)}: {_line(section.title)}\n{body}")
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())


# --- words, shared with what is printed -----------------------------------------------------------------------


def grid_of(section: Table | Matrix) -> tuple[list[str], list[list[str]]]:
    """(headers, rows) of a table or matrix, cells in words."""
    if isinstance(section, Matrix):
        return [f"{section.row_title} \\ {section.column_title}", *section.column_names], [
            [name, *(words(cell, section.quantity) for cell in cells)]
            for name, cells in zip(section.row_names, section.cells, strict=True)
        ]
    headers = [*section.row_keys, *(c.title for c in section.columns), *section.word_columns]
    return headers, [
        [
            *(row.keys.get(k, "") for k in section.row_keys),
            *(words(row.cells[c.key], c) for c in section.columns),
            *(row.words.get(w, "") for w in section.word_columns),
        ]
        for row in section.rows
    ]


def words(cell: Cell, column: Column) -> str:
    """``81.2 [75.8, 86.6]``; ``2 of 5 [5.3, 85.3]`` of a count; ``81.2 (76.6 to 85.4)`` over the seeds where the
    interval is withheld; of one value ``81.2 (one seed)``: the reason why; else the reason alone."""
    if cell.value is None:
        return f"({cell.withheld})" if cell.withheld else "-"
    counted = COUNTED.search(cell.method)
    if counted and cell.low is not None and cell.high is not None:
        return f"{counted[1]} of {counted[2]} [{number(cell.low, column)}, {number(cell.high, column)}]"
    if cell.low is not None and cell.high is not None:
        return f"{number(cell.value, column)} [{number(cell.low, column)}, {number(cell.high, column)}]"
    seen = [s.value for s in cell.seeds if s.value is not None]
    if len(seen) > 1:
        return f"{number(cell.value, column)} ({number(min(seen), column)} to {number(max(seen), column)})"
    return f"{number(cell.value, column)} ({cell.withheld})"


def number(value: float, column: Column) -> str:
    """A share in percent, a difference in points with its sign, steps to one place, else three digits."""
    if column.kind in ("share", "difference"):
        shown = round(100 * value, 1) + 0.0  # + 0.0: minus nothing is nothing
        return f"{shown:+.1f}" if column.kind == "difference" else f"{shown:.1f}"
    return f"{value:.1f}" if column.kind == "steps" else f"{value:.3g}"


def rows_of(section: Section) -> tuple[list[str], Sequence[Sequence[str]]]:
    """(headers, rows) of any section, for print."""
    if isinstance(section, Table | Matrix):
        return grid_of(section)
    if isinstance(section, Curve):
        xs = sorted({p.x for line in section.lines for p in line.points})
        cells_of_lines = [{p.x: p.y for p in line.points} for line in section.lines]
        marks = [[f"{m.x:.3g}", m.label, *[""] * (len(section.lines) - 1)] for m in section.marks]
        rows = [[f"{x:g}", *(words(f[x], section.y) if x in f else "" for f in cells_of_lines)] for x in xs]
        return [section.x_title, *(line.name for line in section.lines)], [*rows, *marks]
    if isinstance(section, Onsets):
        share = Column(key="share", title="")
        return ["group", "onset by seed", "k of S discovered", "exploit rate at the start"], [
            [
                g.name,
                ", ".join("never" if s.value is None else f"{s.value:.0f}" for s in g.onsets),
                words(g.discovered, share),
                words(g.start, share),
            ]
            for g in section.groups
        ]
    return ["", "verdict"], [[", ".join(i.keys.values()), i.sentence] for i in section.items]
