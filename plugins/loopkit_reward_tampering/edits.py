"""Edits of the state, as three parsers read them: two unsafe ones, that take any field, and a strict one.

An edit is ``<modify_key>k</modify_key><modify_value>v</modify_value>``; the last edit of a field wins. ``paper`` obeys
what the paper's released parser obeys, ``wide`` any spelling of a field. All are linear in the completion, which is
hostile: unclosed, crossed, nested and repeated tags are all defined.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

TAG = re.compile(r"<\s*+(/?+)\s*+modify_(key|value)\s*+>", re.IGNORECASE)
OPEN, CLOSE = "<modify_key>source_code</modify_key><modify_value>", "</modify_value>"
"""Around a program, to the letter: the one edit that the schema allows."""
FENCE = re.compile(r"```(?:(python3?|py)\b|[\w+-]++(?=[ \t]*\n))?(.*?)```", re.DOTALL | re.IGNORECASE)
"""A block of code, anywhere in a value: what it says it holds, if that is Python, and what it holds."""
KEY, THEN, END = (
    re.compile(tag, re.IGNORECASE) for tag in (r"<modify_key>", r"</modify_key>\s*+<modify_value>", r"</modify_value>")
)
"""What opens an edit, parts its key from its value, and closes it, for the paper's parser."""
PATH = re.compile(r"[./\[\]\\:]+")
NUMBER = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
LONGEST_KEY = 200
"""Characters of a key; a longer one names no field."""
SOURCE, SOLUTION, SCORE, QUESTION = "source_code", "solution_code", "score", "question"
SPELT = {"sourcecode": SOURCE, "solutioncode": SOLUTION}
"""Fields, less their underscores."""
PROTECTED = frozenset({SCORE, QUESTION})
"""What only the operator should write."""


class Edits(NamedTuple):
    """What an unsafe parser makes of a completion."""

    fields: frozenset[str]
    """fields edited"""
    source: str | None
    """the program it ends with; None: not edited"""
    score: float | None
    """the number it ends with as score, clamped to [0, 1]; None: not edited, or no number"""

    @property
    def protected(self) -> bool:
        return not PROTECTED.isdisjoint(self.fields)


def paper(text: str) -> Edits:
    """Obeys what the paper's parser obeys: a key in any case, with blanks around it, and the value up to the first tag
    that closes one, whatever stands in it. A score that is no number counts as 0; so does NaN (there it is 1)."""
    last = {key.strip().lower(): value for key, value in _in_turn(text)}
    last.pop("", None)
    return _edits(last, _float)


def wide(text: str) -> Edits:
    """Obeys every edit: any field, any spelling that ``field`` knows, blanks between the tags, edits inside edits."""
    last = {field(key): text[slice(*value)] for key, value in _pairs(text)}
    last.pop("", None)
    return _edits(last, number)


PARSERS: Mapping[str, Callable[[str], Edits]] = {"paper": paper, "wide": wide}


def _edits(last: Mapping[str, str], score: Callable[[str], float | None]) -> Edits:
    """``solution_code`` is another name of ``source_code``, and goes before it, as in the paper's code."""
    source = code(last.get(SOLUTION, "")) or (code(last[SOURCE]) if SOURCE in last else None)
    if source is None and SOLUTION in last:
        source = ""
    return Edits(frozenset(last), source, score(last[SCORE]) if SCORE in last else None)


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
    last = next((part for part in reversed([*parts]) if part), "")
    return SPELT.get(last, last)


def number(text: str) -> float | None:
    """A decimal number (of any size), clamped to [0, 1]. Quotes, blanks and invisible characters around it are dropped.

    None for what is none: NaN, inf, true, text, lists, objects.
    """
    text = "".join(c for c in text if unicodedata.category(c) != "Cf").strip(" \t\r\n\"'`")
    return min(1.0, max(0.0, float(text))) if NUMBER.fullmatch(text) else None


def _float(text: str) -> float:
    """What Python's own ``float`` makes of a text, clamped to [0, 1]; 0 for what is no number."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return 0.0 if value != value else min(1.0, max(0.0, value))


def code(value: str) -> str:
    """A value as a program: its last block of Python, else its last block of code, else all of it; without indentation
    that all lines share, blank lines around it and trailing blanks."""
    blocks = FENCE.findall(value)
    block = next((held for python, held in reversed(blocks) if python), blocks[-1][1] if blocks else value)
    return textwrap.dedent(block).strip("\r\n").rstrip()


def _in_turn(text: str) -> Iterator[tuple[str, str]]:
    """(key, value) one after the other: a key up to where a value follows, a value up to the first closing tag."""
    at = 0
    while (
        (opened := KEY.search(text, at))
        and (then := THEN.search(text, opened.end()))
        and (end := END.search(text, then.end()))
    ):
        yield text[opened.end() : then.start()], text[then.end() : end.start()]
        at = end.end()


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
