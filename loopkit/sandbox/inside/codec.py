"""Values between the sides: JSON that keeps exact types and cannot execute.

None, bool, int, float, str and lists of them are JSON as it is. ``{"t": [...]}`` is a tuple, ``{"d": [[k, v], ...]}``
a dict, ``{"s": [...]}`` a set, ``{"f": [...]}`` a frozenset, ``{"b": "hex"}`` bytes, ``{"x": "hex"}`` an int too long
for decimal. Subclasses are refused, whatever they pretend to equal, but for those of the standard library that Python
itself counts as equal to their base: Counter, defaultdict and OrderedDict travel as a dict, a named tuple as a tuple.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict
from typing import Any

DEPTH = 200
"""Deepest nesting of a value, on both sides."""
LONG = 10_000
"""Bits from which an int travels in hexadecimal: decimal takes quadratic time, and Python limits its digits."""
DICTS = frozenset({dict, Counter, defaultdict, OrderedDict})
PLAIN = frozenset({type(None), bool, float, str})


class Unsupported(ValueError):
    """A value of a type, depth or shape that does not travel."""


def encode(value: object) -> str:
    """One line of JSON. Raises Unsupported."""
    return json.dumps(pack(value, DEPTH), separators=(",", ":"))


def decode(text: str | bytes) -> Any:
    """The value. Strict: raises Unsupported for anything ``encode`` would not have written."""
    try:
        return unpack(json.loads(text))
    except Unsupported:
        raise
    except (ValueError, RecursionError) as error:
        raise Unsupported(f"not the JSON of a value: {error}") from None


def pack(value: Any, depth: int = DEPTH) -> Any:
    """What ``encode`` makes JSON of. Raises Unsupported."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is int:
        return value if -LONG < value.bit_length() < LONG else {"x": hex(value)}
    if depth == 0:
        raise Unsupported(f"nested deeper than {DEPTH}")
    if kind is list:
        if _flat(value):
            return value
        return [pack(v, depth - 1) for v in value]
    if kind is tuple or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return {"t": [pack(v, depth - 1) for v in tuple.__iter__(value)]}
    if kind in DICTS:
        return {"d": [[pack(k, depth - 1), pack(v, depth - 1)] for k, v in dict.items(value)]}
    if kind is set or kind is frozenset:
        packed = [pack(v, depth - 1) for v in value]
        return {"s" if kind is set else "f": sorted(packed, key=json.dumps)}
    if kind is bytes:
        return {"b": value.hex()}
    raise Unsupported(f"a value of type {kind.__name__} does not travel")


def unpack(data: Any, depth: int = DEPTH) -> Any:
    """The value of parsed JSON. Raises Unsupported."""
    kind = type(data)
    if kind in PLAIN or kind is int:
        return data
    if depth == 0:
        raise Unsupported(f"nested deeper than {DEPTH}")
    if kind is list:
        return data if _flat(data) else [unpack(v, depth - 1) for v in data]
    if kind is not dict or len(data) != 1:
        raise Unsupported("not the JSON of a value")
    ((tag, inner),) = data.items()
    try:
        if tag == "x":
            return int(_text(inner), 16)
        if tag == "b":
            return bytes.fromhex(_text(inner))
        if type(inner) is not list:
            raise Unsupported("not the JSON of a value")
        if tag == "d":
            return {unpack(k, depth - 1): unpack(v, depth - 1) for k, v in inner}
        if tag in _MAKE:
            return _MAKE[tag](unpack(v, depth - 1) for v in inner)
    except (TypeError, ValueError) as error:
        raise Unsupported(f"not the JSON of a value: {error}") from None
    raise Unsupported(f"unknown tag {tag[:20]!r}")


def _flat(values: list[Any]) -> bool:
    """Whether every item travels as it is: the fast path of long lists."""
    kinds = set(map(type, values))
    return kinds <= PLAIN or (kinds == {int} and max(map(int.bit_length, values)) < LONG)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Unsupported("not the JSON of a value")
    return value


_MAKE: dict[str, Any] = {"t": tuple, "s": set, "f": frozenset}
