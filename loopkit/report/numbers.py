"""Numbers as words, the same on the page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loopkit.records import Estimate
from loopkit.stats import verdict
from loopkit.stats.claims import PATTERN

BLOCKS = "▁▂▃▄▅▆▇█"


def percent(value: float | None) -> str:
    """A share in percent, ``-`` for none."""
    return "-" if value is None else f"{100 * value + 0.0:.1f}"


def interval(e: Estimate | None, *, n: bool = True) -> str:
    """``12.3 [10.1, 14.9] n=2000``, in percent."""
    if e is None:
        return "-"
    bounds = f"[{percent(e.low)}, {percent(e.high)}]" if e.low is not None else "[withheld]"
    return f"{percent(e.value)} {bounds}" + (f" n={e.n}" if n else "")


def p_value(p: float | None) -> str:
    """``p = 0.022``, ``p < 0.001``; ``no p-value`` for none."""
    return "no p-value" if p is None else verdict.p_value(p)


def plain(value: float | None) -> str:
    """A reward or another number, in at most four digits."""
    return "-" if value is None else f"{value + 0.0:.4g}"


def without_name(name: str, sentence: str) -> str:
    """A verdict's sentence without its first words, where they hold the name that stands above it."""
    head, colon, rest = sentence.partition(": ")
    if not colon or name.lower().removeprefix(PATTERN) not in head.lower():
        return sentence
    return rest[:1].upper() + rest[1:]


def sparkline(values: Sequence[float | None], low: float, high: float, width: int = 40) -> str:
    """A curve in at most ``width`` characters: means of equal stretches; a space where nothing was measured."""
    out = []
    for part in stretches(values, width):
        seen = [v for v in part if v is not None and math.isfinite(v)]
        if not seen:
            out.append(" ")
            continue
        share = (sum(seen) / len(seen) - low) / (high - low) if high > low else 0.0
        out.append(BLOCKS[min(len(BLOCKS) - 1, max(0, int(share * len(BLOCKS))))])
    return "".join(out)


def stretches(values: Sequence[float | None], most: int) -> list[Sequence[float | None]]:
    """At most ``most`` consecutive stretches of equal length (but for rounding)."""
    k = min(most, len(values))
    return [values[len(values) * i // k : len(values) * (i + 1) // k] for i in range(k)]
