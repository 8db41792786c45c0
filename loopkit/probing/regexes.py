"""A text that a regular expression of the reward's own code matches, with an answer in its open place.

Graders ask for a form by a pattern; the shortest text that fits it, with the answer where anything may stand, is that
form. It walks the parse tree of the standard library's ``re``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

HOLE = "\0"
"""Stands where anything may, until one of these places is given the answer."""
WIDE = 20
"""Characters that a class must allow to count as one in which an answer may stand."""

BROAD = {
    op.CATEGORY_NOT_SPACE, op.CATEGORY_WORD, op.CATEGORY_DIGIT, op.CATEGORY_NOT_DIGIT, op.CATEGORY_NOT_WORD
}  # fmt: skip


def forms(pattern: str) -> list[str]:
    """Templates with one ``{}``: the pattern's shortest text with the answer in its last open place, and its first.

    Other open places hold "x". Empty where it is no pattern, or has no open place, or no literal text.
    """
    if not re.search(r"\(|\.[*+]|\\s|\]\+", pattern):
        return []
    try:
        shape = _walk(parser.parse(pattern, re.DOTALL), {})
    except (re.error, RecursionError, OverflowError, ValueError):
        return []
    shape = shape.strip(" ")
    holes = shape.count(HOLE)
    if not holes or not shape.replace(HOLE, "").strip() or len(shape) > 400:
        return []
    made = []
    for answer in dict.fromkeys((holes - 1, 0)):
        bits = shape.split(HOLE)
        fill = ["{}" if k == answer else "x" for k in range(holes)] + [""]
        made.append("".join(b.replace("{", "{{").replace("}", "}}") + f for b, f in zip(bits, fill, strict=True)))
    return made


def _walk(items: Sequence[tuple[Any, Any]], groups: dict[int, str]) -> str:
    out = ""
    for kind, value in items:
        if kind is op.LITERAL:
            out += chr(value)
        elif kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            low, high, inner = value
            if high > 1 and len(inner) == 1 and _wide(inner[0]):
                out += HOLE
            elif low or (len(inner) == 1 and inner[0][0] is op.SUBPATTERN and high == 1):
                out += _walk(inner, groups) * max(1, min(low, 50))
        elif kind is op.SUBPATTERN:
            number, *_, inner = value
            found = _walk(inner, groups)
            if number is not None:
                groups[number] = found
            out += found
        elif kind is op.BRANCH:
            out += _walk(value[1][0], groups)
        elif kind is op.GROUPREF:
            out += groups.get(value, "")
        elif kind in (op.IN, op.ANY, op.NOT_LITERAL, op.CATEGORY):
            out += _one(kind, value)
        elif kind is op.ATOMIC_GROUP:
            out += _walk(value, groups)
    return out


def _wide(item: tuple[Any, Any]) -> bool:
    """Whether so many characters fit here that an answer may stand in its repetition."""
    kind, value = item
    if kind in (op.ANY, op.NOT_LITERAL):
        return True
    if kind is op.SUBPATTERN:
        inner = value[-1]
        return len(inner) == 1 and _wide(inner[0])
    if kind is not op.IN:
        return False
    size = 0
    for of, what in value:
        if of is op.NEGATE or (of is op.CATEGORY and what in BROAD):
            return True
        size += what[1] - what[0] + 1 if of is op.RANGE else 1
    return size >= WIDE or any(of is op.RANGE and what == (48, 57) for of, what in value)


def _one(kind: Any, value: Any) -> str:
    """One character that fits."""
    if kind is op.ANY:
        return HOLE
    if kind is op.NOT_LITERAL:
        return "x" if value != ord("x") else "y"
    for of, what in value if kind is op.IN else [(op.CATEGORY, value)]:
        if of is op.LITERAL:
            return chr(what)
        if of is op.RANGE:
            return chr(what[0])
        if of is op.CATEGORY:
            return {op.CATEGORY_SPACE: " ", op.CATEGORY_DIGIT: "0"}.get(what, "x")
    return "x"
