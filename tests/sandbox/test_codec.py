"""Values keep their exact types on the way, and what is not a value does not arrive."""

from __future__ import annotations

import collections
import contextlib
import enum
import fractions
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopkit.sandbox import same
from loopkit.sandbox.inside import codec

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
HASHABLE = st.recursive(SCALARS, lambda s: st.tuples(s) | st.frozensets(s, max_size=3), max_leaves=5)
VALUES = st.recursive(
    SCALARS,
    lambda s: st.lists(s) | st.tuples(s, s) | st.dictionaries(HASHABLE, s, max_size=4) | st.sets(HASHABLE, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_comes_back_the_same(value: Any) -> None:
    text = codec.encode(value)
    assert "\n" not in text
    assert same(value, codec.decode(text))


def test_long_numbers_travel() -> None:
    for value in (1 << 200_000, -(1 << 200_000), [1 << 20_000, 1], 10**4000):
        assert same(value, codec.decode(codec.encode(value)))


class Truth(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        object(),
        1j,
        {"a": iter([])},
        [enum.Enum("E", "A").A],
        print,
        range(3),
        collections.deque([1]),
        fractions.Fraction(1, 2),
    ],
)
def test_other_types_do_not_travel(value: object) -> None:
    with pytest.raises(codec.Unsupported, match="does not travel"):
        codec.encode(value)


class Liar(list[int]):
    """Says other things of itself than it is."""

    def copy(self) -> list[int]:
        return [9]

    def __iter__(self) -> Iterator[int]:
        return iter([9])

    def __len__(self) -> int:
        return 9


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Truth(7), 7), (Colour.RED, 1), ([Truth(7)], [7]), ({Truth(7): Colour.RED}, {7: 1}), (Liar([1, 2]), [1, 2]),
        (type("S", (str,), {"__str__": lambda s: "other", "__eq__": lambda *_: True, "__hash__": str.__hash__})("a"), "a"),
        (type("F", (float,), {"__float__": lambda s: 2.0})(1.5), 1.5), (type("B", (bytes,), {})(b"a"), b"a"),
        (type("D", (dict,), {"items": lambda s: [(1, 2)]})(a=1), {"a": 1}), (type("T", (tuple,), {})((1,)), (1,)),
        (type("Z", (set,), {"__iter__": lambda s: iter([5])})({1}), {1}),
        (type("C", (collections.Counter,), {})("aa"), {"a": 2}), (type("Q", (frozenset,), {})({1}), frozenset({1})),
    ],
)  # fmt: skip
def test_a_subclass_travels_as_the_plain_value_underneath(value: object, plain: object) -> None:
    assert same(plain, codec.decode(codec.encode(value)))
    assert same(10**5000, codec.decode(codec.encode(Truth(10**5000))))


def test_minus_zero_is_zero_wherever_it_stands() -> None:
    for expected, got in (
        ({0.0}, {-0.0}),
        ({(0.0, 1): 2}, {(-0.0, 1): 2}),
        ({frozenset({0.0})}, {frozenset({-0.0})}),
        (0.0, -0.0),
    ):
        assert same(expected, got)
    assert not same({0.0}, {0})
    assert not same({0.0}, {1.0})


Pair = collections.namedtuple("Pair", "a b")


class Typed(NamedTuple):
    a: int


class Liar(Pair):
    def __iter__(self) -> Iterator[Any]:
        return iter("lies")

    def __len__(self) -> int:
        return 9


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (collections.Counter("aab"), {"a": 2, "b": 1}), (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}), (Pair(1, [2]), (1, [2])), (Typed(1), (1,)),
        ([Pair(1, 2), {"k": collections.Counter()}], [(1, 2), {"k": {}}]), (Liar(1, 2), (1, 2)),
    ],
)  # fmt: skip
def test_what_equals_its_base_travels_as_its_base(value: Any, arrives: Any) -> None:
    assert same(arrives, codec.decode(codec.encode(value)))


def test_depth_is_bounded() -> None:
    deep: list[Any] = []
    for _ in range(codec.DEPTH):
        deep = [deep]
    with pytest.raises(codec.Unsupported, match="nested deeper"):
        codec.encode(deep)
    own: list[Any] = []
    own.append(own)
    with pytest.raises(codec.Unsupported, match="nested deeper"):
        codec.encode(own)


@pytest.mark.parametrize(
    "text",
    [
        "", "[", "nul", "[" * 100_000, "{}", '{"t": 1}', '{"t": [], "s": []}', '{"d": [1]}', '{"d": [[1]]}', '{"x": 5}',
        '{"d": [[[1], 2]]}', '{"s": [[1]]}', '{"x": "zz"}', '{"b": "z"}', '{"q": []}', '{"v": 1}', "9" * 100_000,
        '{"t": [{"q": 1}]}', "[" * 300 + "]" * 300,
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(codec.Unsupported):
        codec.decode(text)


@given(st.text(max_size=40))
def test_garbage_never_raises_anything_else(text: str) -> None:
    with contextlib.suppress(codec.Unsupported):
        codec.decode(text)


def test_same_is_strict_in_types() -> None:
    apart: list[tuple[Any, Any]] = [
        (1, True), (1, 1.0), (True, 1.0), (0, False), (None, False), ("1", 1), ([1], (1,)), ({1}, frozenset({1})),
        (b"a", "a"), ([1, [2]], [1, [2.0]]), ({"a": 1}, {"a": True}), ({1: "a"}, {True: "a"}), ({1}, {1.0}),
        ([1], [1, 2]), ({"a": 1}, {"a": 1, "b": 2}), ((1, (2, 3)), (1, (2, 4))), (math.nan, 1.0), (math.inf, -math.inf),
    ]  # fmt: skip
    for one, other in apart:
        assert not same(one, other)
        assert not same(other, one)
    for value in (1, True, 1.0, None, "a", [1, (2, {"a": {3}})], math.nan, [math.nan], {"a": math.nan}, -0.0):
        assert same(value, value)
    assert same(0.0, -0.0)
    assert same({"a": 1, "b": [2]}, {"b": [2], "a": 1})
    assert not same(1, Truth(5))
