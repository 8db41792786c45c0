"""Dose curves: exploit rate against a knob, with the seed as unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import factorial
from typing import Literal

from loopkit.errors import UsageError
from loopkit.records import Estimate
from loopkit.stats import seeds


@dataclass(frozen=True, slots=True)
class Trend:
    """A monotone trend over doses."""

    p: float
    """Page's test, exact, one-sided in the direction named beforehand."""
    least_p: float
    """The smallest p that so many seeds and doses can give."""
    slope: Estimate
    """Least-squares slope a seed, rate per unit of dose: mean over seeds with its t interval."""
    means: tuple[Estimate, ...]
    """By dose, over seeds."""


def trend(
    doses: Sequence[float],
    rates: Sequence[Sequence[float]],
    direction: Literal["rises", "falls"],
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Trend:
    """(D,) rising doses and (S, D) rates, one row a seed -> whether rates rise (fall) with the dose.

    Page's L (JASA 1963) ranks within each seed, so seeds may differ and nothing is assumed of the distribution; H0 is
    no dose effect at all, and the direction must be named before looking. Ties make it conservative. The slope needs
    no straight line: it is the best line's. Raises UsageError of fewer than 3 doses, unequal rows or doses that do
    not rise.
    """
    import numpy as np
    from scipy import stats

    if len(doses) < 3 or any(b <= a for a, b in pairwise(doses)):
        raise UsageError("A trend needs at least 3 doses, from the lowest to the highest, each once.")
    if not rates or any(len(row) != len(doses) for row in rates):
        raise UsageError("Give one row a seed, with a rate at every dose. Leave out seeds that lack a run.")
    d, s = len(doses), len(rates)
    ranks = list(range(1, d + 1))[:: 1 if direction == "rises" else -1]
    # One seed's ranks are drawn from d! orders; scipy wants two rows or more, so a single seed shows nothing.
    p = float(stats.page_trend_test(rates, predicted_ranks=ranks).pvalue) if s > 1 else 1.0
    slopes = [float(np.polyfit(doses, row, 1)[0]) for row in rates]
    columns = [seeds.mean_over_seeds([row[i] for row in rates], bounds) for i in range(d)]
    return Trend(p, factorial(d) ** -float(s) if s > 1 else 1.0, seeds.mean_over_seeds(slopes), tuple(columns))


def crossing(doses: Sequence[float], rates: Sequence[float], level: float = 0.5) -> float | None:
    """Smallest dose at which a seed's (D,) rates cross ``level``, linear between doses; None: they do not (censored).

    Set beside an analytic break-even (self-grading's p*(q)): a policy that responds to incentives alone crosses there.
    """
    for (x, y), (x_, y_) in pairwise(zip(doses, rates, strict=True)):
        if y == level:
            return x
        if (y - level) * (y_ - level) < 0:
            return x + (x_ - x) * (level - y) / (y_ - y)
    return doses[-1] if rates[-1] == level else None
