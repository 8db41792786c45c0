"""Tables that fit: a terminal of 100 columns (or fewer), a notebook, and plain dicts."""

from __future__ import annotations

import html
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from loopkit.records import Json
from loopkit.registry import contain

WIDEST, NARROWEST = 100, 60
FORMATS = {"plain": "simple", "markdown": "github"}
GAP = 2
"""Spaces between two columns."""
PROSE = 18
"""A column whose cells are longer than this and hold spaces may be wrapped."""


def width() -> int:
    """Columns to print in: the terminal's, or COLUMNS, but at most WIDEST; WIDEST where nothing is known."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def harmless(value: Any) -> Any:
    """Text made harmless (see :func:`loopkit.registry.contain.harmless`); anything else as it is."""
    return contain.harmless(value) if isinstance(value, str) else value


def wrapped(text: str, indent: str = "", first: str | None = None) -> str:
    """Text in lines of at most ``width()``, each paragraph for itself; a long path or name is not broken.

    An indented line is a command to copy, and stays whole.
    """
    out = [
        line if line.startswith("  ") else textwrap.fill(
            line, width(), initial_indent=indent if first is None or i else first, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        )
        for i, line in enumerate(str(harmless(text)).split("\n"))
    ]  # fmt: skip
    return "\n".join(out)


def fitted(rows: Sequence[Sequence[Any]], headers: Sequence[str], style: str = "plain", keys: int = 1) -> str:
    """A table of at most ``width()`` columns: prose is wrapped, and what is still too wide becomes several tables.

    Each of these begins with the first ``keys`` columns. Markdown cannot wrap a cell, so it is left as it is.
    """
    cells = [["" if c is None else str(harmless(c)) for c in row] for row in rows]
    head = [str(harmless(h)) for h in headers]
    if style != "plain":
        return str(tabulate(cells, head, tablefmt=FORMATS[style], disable_numparse=True))
    most = width()
    natural = _natural(head, cells)
    room = most - sum(natural) - GAP * (len(natural) - 1)
    if room < 0:
        cells = _wrap_prose(cells, natural, room)
        natural = _natural(head, cells)
    blocks: list[list[int]] = []
    first = list(range(min(keys, len(head))))
    for i in range(len(first), len(head)):
        if not blocks or _total([natural[j] for j in [*blocks[-1], i]]) > most:
            blocks.append([*first])
        blocks[-1].append(i)
    return "\n\n".join(_plain(cells, head, block, most) for block in blocks or [first])


def _plain(cells: Sequence[Sequence[str]], head: Sequence[str], block: Sequence[int], most: int) -> str:
    rows = [[row[i] for i in block] for row in cells]
    text = str(tabulate(rows, [head[i] for i in block], tablefmt="simple", disable_numparse=True))
    lines = [line.rstrip() for line in text.splitlines()]
    if max(map(len, lines)) > most:  # one column wider than the terminal: a path, or a word without spaces
        lines = [part for line in lines for part in (textwrap.wrap(line, most, drop_whitespace=False) or [""])]
    return "\n".join(lines)


def _wrap_prose(cells: Sequence[Sequence[str]], natural: Sequence[int], room: int) -> list[list[str]]:
    """The cells of the widest columns of words, wrapped until the table fits, if that leaves them PROSE columns."""
    limits = dict(enumerate(natural))
    prose = [i for i in limits if natural[i] > PROSE and any(" " in row[i] and not _number(row[i]) for row in cells)]
    while room < 0:
        able = [i for i in prose if limits[i] > PROSE]
        if not able:
            break
        widest = max(able, key=lambda i: limits[i])
        second = max((limits[i] for i in able if i != widest), default=PROSE)
        step = max(1, min(-room, limits[widest] - max(second, PROSE)))
        limits[widest] -= step
        room += step
    if room < 0:
        return [list(row) for row in cells]
    return [
        ["\n".join(p for line in cell.split("\n") for p in textwrap.wrap(line, limits[i]) or [""])
         if natural[i] > limits[i] else cell for i, cell in enumerate(row)]
        for row in cells
    ]  # fmt: skip


def _number(text: str) -> bool:
    """Whether a cell begins with a number, as ``81.2 [75.8, 86.6]`` does: that is not wrapped."""
    return bool(text) and (text[0].isdigit() or (text[0] in "+-(" and text[1:2].isdigit()))


def _natural(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column as tabulate sets it: two more than its header, or its longest line."""
    columns = zip(*cells, strict=True) if cells else [() for _ in head]
    return [
        max([len(title) + GAP, *(len(line) for cell in column for line in cell.split("\n"))])
        for title, column in zip(head, columns, strict=True)
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


@dataclass(frozen=True, repr=False)
class Table:
    """A small table: text where it is printed, HTML in a notebook, and plain dicts. ``notes`` stand below it."""

    headers: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    records: tuple[dict[str, Json], ...]
    """One dict a row, with numbers as shares (0.1 is 10 %)."""
    notes: tuple[str, ...] = ()
    keys: int = 1
    """How many first columns name a row."""

    def rows(self) -> list[dict[str, Json]]:
        """Plain dicts, numbers as shares: ``pandas.DataFrame(table.rows())`` works."""
        return [dict(record) for record in self.records]

    def text(self, style: str = "plain") -> str:
        """As it is printed, at most 100 columns wide (Markdown is not wrapped)."""
        parts = [fitted(self.cells, self.headers, style, self.keys), *map(wrapped, self.notes)]
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{_html(h)}</th>" for h in self.headers)
        body = "".join("<tr>" + "".join(f"<td>{_html(c)}</td>" for c in row) + "</tr>" for row in self.cells)
        notes = "".join(f"<p><small>{_html(note)}</small></p>" for note in self.notes)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _html(text: str) -> str:
    return html.escape(str(harmless(text)))
