"""Keyed, stateless draws: the same keys give the same number on every machine, in any order.

Nothing in loopkit draws from a shared stream. A draw is a hash of *what it is for*, so that served and local,
interrupted and resumed runs, and the two arms of a pair, draw alike.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def digest(*keys: Any) -> int:
    """64-bit hash of JSON-serialisable keys. Distinct key tuples collide with probability 2^-64."""
    text = json.dumps(keys, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def uniform(*keys: Any) -> float:
    """A draw in [0, 1), uniform over keys."""
    return (digest(*keys) >> 11) / (1 << 53)


def stream(*keys: Any) -> random.Random:
    """A private random stream for one purpose, for code that needs many draws."""
    return random.Random(digest(*keys))


def shuffled(items: Iterable[T], *keys: Any) -> list[T]:
    """A permutation that depends only on the keys and the items' order."""
    out: list[T] = list(items)
    stream(*keys).shuffle(out)
    return out


def pick(items: Sequence[T], *keys: Any) -> T:
    """One item, uniform over keys."""
    return items[int(uniform(*keys) * len(items))]
