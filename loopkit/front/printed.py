"""What is printed by default: the answer first, at most LINES lines of at most 100 columns."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loopkit.evidence.tables import paired
from loopkit.experiment.registration import told as stamped
from loopkit.front.sections import whole
from loopkit.front.tables import wrapped

if TYPE_CHECKING:
    from loopkit.front.outcome import Result

LINES = 30
NOTES = 4
"""Notes on a comparison that are printed."""
LEAST = 3
"""Lines that an example has at least, where there is room for one at all."""
TINY = "tiny is a very small model, warmed up on demonstrations that hold the exploit: no evidence about large models."


def bold(text: str) -> str:
    """Bold on a terminal, as it is elsewhere."""
    return click.style(text, bold=True) if sys.stdout.isatty() else text


def compared(result: Result, style: str) -> list[str]:
    """Of runs made elsewhere: the arms' differences, paired by seed, and what was assumed, left out or lacks."""
    about = result.results.compared
    if about is None:
        return []
    notes = [wrapped(f"Note: {note}.") for note in about.notes[:NOTES]]
    more = [f"And {len(about.notes) - NOTES} more notes: --verbose."] if len(about.notes) > NOTES else []
    differences = whole(paired(result.results))
    return [*([differences.text(style)] if differences.cells else []), "\n".join([*notes, *more])]


def experiment(result: Result, style: str = "plain") -> str:
    """The verdict in a word and a sentence, the arms side by side, one exploit as said, and where the page is."""
    verdict = result.verdict
    basis = f" ({verdict.basis})" if verdict.basis else ""
    head = f"{bold(verdict.name)}\n{wrapped(verdict.sentence + basis)}"
    fixes = result.fixes()
    beside = wrapped("Fixes: " + "; ".join(f"{arm} {name}" for arm, name in fixes.items()) + ".") if fixes else ""
    tail = "\n".join([
        *([wrapped(TINY)] if result.model.startswith("tiny") else []),
        wrapped(f"{result.where()}\nEvery seed and column: --verbose, and {result.directory / 'results.json'}"),
    ])  # fmt: skip
    if result.registration["status"] == "registered":
        beside = "\n".join(part for part in (beside, wrapped(stamped(result.registration))) if part)
    parts = [head, result.table().text(style), *compared(result, style), beside, tail]
    example = result.example() if result.rose() else None
    room = LINES - sum(part.count("\n") + 2 for part in parts if part)
    if example and room >= LEAST:
        parts.insert(len(parts) - 1, example.text(room))  # "" where it does not fit
    return "\n\n".join(part for part in parts if part)
