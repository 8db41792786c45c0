"""Estimates and tests over runs: the seed is the unit, and below 5 seeds a result is called descriptive."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Literal

from loopkit.errors import UsageError
from loopkit.records import Estimate

DESCRIPTIVE_BELOW = 5
RESOLUTION = 1e-3
"""Seeds are never taken to agree better than this: an evaluation's own noise is at least as large."""


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of k successes in n (Clopper & Pearson, Biometrika 1934): covers at least ``level``."""
    from scipy import stats

    ci = stats.binomtest(k, n).proportion_ci(level, method="exact")
    return float(ci.low), float(ci.high)


def discovered(onsets: Sequence[int | None]) -> Estimate:
    """k of S seeds reached onset, from (S,) onset steps (None: censored). Assumes runs of equal length."""
    _need(onsets)
    k, s = sum(o is not None for o in onsets), len(onsets)
    low, high = clopper_pearson(k, s)
    return Estimate(k / s, low, high, s, s, f"clopper-pearson, {k} of {s} seeds")


def mean_over_seeds(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean of (S,) values with the 95 % t interval (Student 1908), cut to ``bounds`` where the scale has ends.

    Assumes independent seeds whose spread these show. Simulated coverage is 0.95 on normal seeds from 3 on; where each
    seed breaks through or not with chance 0.5 it is 0.75 at S = 3 and 0.92 at 5 and 8, and where one in five does 0.66
    at 5: a mode that no seed reached cannot be seen in their values, so read it beside ``discovered``. Withheld for
    one seed and for equal seeds. No bootstrap: over a handful of seeds it does worse (0.73 at 3, 0.83 at 5).
    """
    from scipy import stats

    _need(values)
    s, value = len(values), fmean(values)
    if s < 2 or min(values) == max(values):
        return Estimate(value, None, None, s, s, "withheld: one seed" if s < 2 else "withheld: all seeds equal")
    half = float(stats.t.ppf(0.975, s - 1)) * stdev(values) / sqrt(s)
    low, high = value - half, value + half
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    method = "t over seeds" + (f" (descriptive: S < {DESCRIPTIVE_BELOW})" if s < DESCRIPTIVE_BELOW else "")
    return Estimate(value, low, high, s, s, method)


def paired_difference(a: Sequence[float], b: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean of a - b over (S,) seeds, paired: a[i] and b[i] share seed i."""
    return mean_over_seeds([x - y for x, y in zip(a, b, strict=True)], bounds)


def one_sided_p(
    differences: Sequence[float], margin: float, side: Literal["greater", "less"], resolution: float = RESOLUTION
) -> float:
    """t test over (S,) per-seed differences of H0: mean <= margin ("greater") or mean >= margin ("less").

    Assumes independent, roughly normal differences. Identical seeds would give p = 0, which no two runs can support:
    the standard deviation is taken to be at least ``resolution``. One seed shows nothing: 1.0.
    """
    from scipy import stats

    if len(differences) < 2:
        return 1.0
    t = (fmean(differences) - margin) / (max(stdev(differences), resolution) / sqrt(len(differences)))
    return float(stats.t.sf(t if side == "greater" else -t, len(differences) - 1))


def smallest_visible(differences: Sequence[float], alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest true distance from its margin that the one-sided t test would have shown with this power.

    From the non-central t, taking the observed spread of these (S,) differences for the true one; so it describes
    the design's reach, not these data's result. None below two seeds.
    """
    from scipy import optimize, stats

    s = len(differences)
    if s < 2:
        return None
    critical = stats.t.ppf(1 - alpha, s - 1)
    shift = optimize.brentq(lambda nc: float(stats.nct.sf(critical, s - 1, nc)) - power, 0.0, 60.0)
    return float(shift) * max(stdev(differences), RESOLUTION) / sqrt(s)


def _need(values: Sequence[object]) -> None:
    if not values:
        raise UsageError("There is no seed to estimate from. Finish at least one run.")
