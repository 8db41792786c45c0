"""Means of unbounded numbers (rewards, lengths) within a run: the cluster is the unit. Shares are in ``rates``."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from loopkit.records import Estimate

Values = Sequence[float | None]
"""(B,) finite numbers; None is left out."""


def clustered_mean(values: Values, clusters: Sequence[str]) -> Estimate | None:
    """Mean of (B,) values with a 95 % t interval on clusters - 1 degrees of freedom; None of nothing.

    The variance is the linearised, cluster-robust one of a ratio (Cochran, Sampling Techniques, 1977, 6.4). Assumes
    independent clusters whose sums are not too skewed: with few of them, or rare large values, it covers less.
    Withheld for one cluster, and where clusters do not differ, since then nothing tells of their spread.
    """
    return _estimate(values, [True] * len(values), clusters)


def clustered_change(values: Values, late: Sequence[bool | None], clusters: Sequence[str]) -> Estimate | None:
    """Mean of the late values minus mean of the early ones (``late`` None: neither), with a 95 % t interval.

    As ``clustered_mean``; a cluster seen early and late pairs. None where there are no values on one side.
    """
    return _estimate(values, late, clusters) if {True, False} <= _sides(values, late) else None


def _sides(values: Values, late: Sequence[bool | None]) -> set[bool | None]:
    return {side for v, side in zip(values, late, strict=True) if v is not None}


def _estimate(values: Values, late: Sequence[bool | None], clusters: Sequence[str]) -> Estimate | None:
    """Mean of the late values, minus that of the early ones where there are any."""
    import numpy as np
    from scipy import stats

    rows = zip(values, late, clusters, strict=True)
    kept = [(v, side, unit) for v, side, unit in rows if v is not None and side is not None]
    if not kept:
        return None
    x, side = np.array([v for v, _, _ in kept], float), np.array([s for _, s, _ in kept], bool)
    places: dict[str, int] = {}
    codes = np.array([places.setdefault(unit, len(places)) for _, _, unit in kept])
    value, influence = 0.0, np.zeros(len(x))
    for sign, chosen in ((1.0, side), (-1.0, ~side)):
        if chosen.any():
            mean = float(x[chosen].mean())
            value += sign * mean
            influence[chosen] = sign * (x[chosen] - mean) / chosen.sum()
    c, scale = len(places), float(np.abs(x).max())
    variance = float((np.bincount(codes, influence) ** 2).sum())
    why = "one cluster" if c < 2 else "clusters do not differ" if sqrt(variance) <= 1e-9 * scale else ""
    if why:
        return Estimate(value, None, None, len(x), c, f"withheld: {why}")
    half = float(stats.t.ppf(0.975, c - 1)) * sqrt(c / (c - 1) * variance)
    return Estimate(value, value - half, value + half, len(x), c, "t, cluster-robust")
