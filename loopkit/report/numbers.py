"""Numbers as words, the same on the page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from loopkit.records import Estimate, Json
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


def over_seeds(e: Estimate | None, values: Sequence[float | None]) -> str:
    """A mean over seeds with its interval; where that is withheld, ``12.3 (10.1 to 14.9)``: lowest to highest seed."""
    seen = [v for v in values if v is not None]
    if e is None or e.low is not None or not seen:
        return interval(e, n=False)
    return f"{percent(e.value)} ({percent(min(seen))} to {percent(max(seen))})"


def p_value(p: float | None) -> str:
    """``p = 0.022``, ``p < 0.001``; ``no p-value`` for none."""
    return "no p-value" if p is None else verdict.p_value(p)


def shown(component: Mapping[str, Json]) -> bool:
    """Whether a verdict's test was shown; results of 0.1 tell by the p-value alone."""
    return bool(component["shown"]) if "shown" in component else bool(component["p"] <= 0.05)


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
