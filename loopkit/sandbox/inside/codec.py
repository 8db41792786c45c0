"""Values between the sides: JSON that keeps exact types and cannot execute.

None, bool, int, float, str and lists of them are JSON as it is. ``{"t": [...]}`` is a tuple, ``{"d": [[k, v], ...]}``
a dict, ``{"s": [...]}`` a set, ``{"f": [...]}`` a frozenset, ``{"b": "hex"}`` bytes, ``{"x": "hex"}`` an int too long
for decimal. A subclass (an IntEnum's member, a Counter, a named tuple) travels as the plain value underneath, by the
base's own methods, whatever it pretends to equal. Everything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from json import dumps, loads
from typing import Any

DEPTH = 200
"""Deepest nesting of a value, on both sides."""
LONG = 10_000
"""Bits from which an int travels in hexadecimal: decimal takes quadratic time, and Python limits its digits."""
PLAIN = frozenset({type(None), bool, float, str})


BASES: dict[type, Callable[[Any], Any]] = {
    int: int.__pos__,
    float: float.__pos__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    list: list.copy,
    tuple: lambda value: (*tuple.__iter__(value),),
    dict: lambda value: {k: v for k, v in dict.items(value)},  # noqa: C416  dict(value) would ask the subclass
    set: lambda value: {*set.__iter__(value)},
    frozenset: lambda value: frozenset([*frozenset.__iter__(value)]),
}
"""Plain type -> how the plain value of a subclass's instance is had."""


class Unsupported(ValueError):
    """A value of a type, depth or shape that does not travel."""


def encode(value: object) -> str:
    """One line of JSON. Raises Unsupported."""
    return dumps(pack(value, DEPTH), separators=(",", ":"))


def decode(text: str | bytes) -> Any:
    """The value. Strict: raises Unsupported for anything ``encode`` would not have written."""
    try:
        return unpack(loads(text))
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
    if kind is tuple:
        return {"t": [pack(v, depth - 1) for v in value]}
    if kind is dict:
        return {"d": [[pack(k, depth - 1), pack(v, depth - 1)] for k, v in value.items()]}
    if kind is set or kind is frozenset:
        packed = [pack(v, depth - 1) for v in value]
        return {"s" if kind is set else "f": sorted(packed, key=dumps)}
    if kind is bytes:
        return {"b": value.hex()}
    for base, plain in BASES.items():
        if issubclass(kind, base):
            return pack(plain(value), depth)
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
