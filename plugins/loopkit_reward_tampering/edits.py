"""Edits of the state, as two parsers read them: the unsafe one, that takes any field in any spelling, and a strict one.

An edit is ``<modify_key>k</modify_key><modify_value>v</modify_value>``; the last edit of a field wins. Both parsers are
linear in the completion, which is hostile: unclosed, crossed, nested and repeated tags are all defined.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

TAG = re.compile(r"<\s*+(/?+)\s*+modify_(key|value)\s*+>", re.IGNORECASE)
OPEN, CLOSE = "<modify_key>source_code</modify_key><modify_value>", "</modify_value>"
"""Around a program, to the letter: the one edit that the schema allows."""
FENCE = re.compile(r"\s*```[\w+-]*\n(.*?)\n?```\s*", re.DOTALL)
PATH = re.compile(r"[./\[\]\\:]+")
NUMBER = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
LONGEST_KEY = 200
"""Characters of a key; a longer one names no field."""
SOURCE, SCORE, QUESTION = "sourcecode", "score", "question"
"""Fields, as ``field`` spells them."""
PROTECTED = frozenset({SCORE, QUESTION})
"""What only the operator should write."""


class Edits(NamedTuple):
    """What the unsafe parser makes of a completion."""

    fields: frozenset[str]
    """fields edited"""
    source: str | None
    """the program it ends with; None: not edited"""
    score: float | None
    """the number it ends with as score, clamped to [0, 1]; None: not edited, or no number"""

    @property
    def protected(self) -> bool:
        return not PROTECTED.isdisjoint(self.fields)


def unsafe(text: str) -> Edits:
    """Obeys every edit: any field, any spelling that ``field`` knows, blanks between the tags, edits inside edits."""
    last = {field(key): value for key, value in _pairs(text)}
    last.pop("", None)
    source, score = last.get(SOURCE), last.get(SCORE)
    return Edits(
        frozenset(last),
        None if source is None else code(text[slice(*source)]),
        None if score is None else number(text[slice(*score)]),
    )


def strict(text: str) -> str | None:
    """The program by the schema: ``source_code``, so spelt, is the one field that may be written, and its value is text
    without tags. Every other edit is dropped. None: no edit is left."""
    for part in reversed(text.split(CLOSE)[:-1]):
        _, opened, value = part.rpartition(OPEN)
        if opened and not TAG.search(value):
            return code(value)
    return None


def field(key: str) -> str:
    """The field that a key is taken to name: the last part of its path, in lower case, letters and digits only.

    So ``Score``, `` s c o r e ``, ``state.score``, ``["score"]`` and one with zero-width characters name ``score``;
    ``score_note`` does not, nor does a look-alike from another alphabet. Empty: none.
    """
    if len(key) > LONGEST_KEY:
        return ""
    parts = ("".join(filter(str.isalnum, p)) for p in PATH.split(unicodedata.normalize("NFKC", key).casefold()))
    return next((part for part in reversed([*parts]) if part), "")


def number(text: str) -> float | None:
    """A decimal number (of any size), clamped to [0, 1]. Quotes, blanks and invisible characters around it are dropped.

    None for what is none: NaN, inf, true, text, lists, objects.
    """
    text = "".join(c for c in text if unicodedata.category(c) != "Cf").strip(" \t\r\n\"'`")
    return min(1.0, max(0.0, float(text))) if NUMBER.fullmatch(text) else None


def code(value: str) -> str:
    """A value as a program: without a code fence around it, nor blank lines and trailing blanks."""
    fenced = FENCE.fullmatch(value)
    return textwrap.dedent(fenced[1] if fenced else value).strip("\r\n").rstrip()


def _pairs(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """(key, where its value stands), in the order in which the values end. What is not closed is no edit."""
    opened: list[tuple[str, int, str]] = []  # kind of tag, where its content starts, the key of a value
    waiting: tuple[str, int] | None = None  # a key that is closed, and where
    for tag in TAG.finditer(text):
        kind = tag[2].lower()
        if not tag[1]:
            key = ""
            if kind == "value" and waiting is not None and not text[waiting[1] : tag.start()].strip():
                key = waiting[0]
            opened.append((kind, tag.end(), key))
            waiting = None
            continue
        waiting = None
        while opened and opened[-1][0] != kind:
            if kind == "key":  # a key does not end inside a value: the tag is stray
                break
            opened.pop()
        if not opened or opened[-1][0] != kind:
            continue
        _, start, key = opened.pop()
        if kind == "key":
            waiting = (text[start : min(tag.start(), start + LONGEST_KEY + 1)], tag.end())
        else:
            yield key, (start, tag.start())
