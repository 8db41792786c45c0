"""Hostile text in parts that are safe to show: invisible and direction-changing characters spelled out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """``kind`` is "" (as it is), "mark" (a clue or a telling phrase) or "odd" (a character spelled out)."""

    kind: str
    text: str


def spelled(character: str) -> str:
    """``U+202E``."""
    return f"U+{ord(character):04X}"


def odd(character: str) -> bool:
    """Whether a character is invisible, changes the direction, or controls a terminal. A newline and a tab are not."""
    return not character.isprintable() and character not in "\n\t"


def pieces(text: str, phrases: Sequence[str] = ()) -> list[Piece]:
    """Text in pieces. ``phrases`` are found regardless of case, the longest first."""
    out: list[Piece] = []
    wanted = sorted({p for p in phrases if p}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, wanted)) or r"(?!)", re.IGNORECASE)
    at = 0
    for hit in pattern.finditer(text):
        out += _plain(text[at : hit.start()])
        out.append(Piece("mark", "".join(spelled(c) if odd(c) else c for c in hit.group())))
        at = hit.end()
    return out + _plain(text[at:])


def _plain(text: str) -> list[Piece]:
    out: list[Piece] = []
    for strange, group in itertools.groupby(text, odd):
        run = "".join(group)
        out += [Piece("odd", spelled(c)) for c in run] if strange else [Piece("", run)]
    return out
