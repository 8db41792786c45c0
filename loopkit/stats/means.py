"""Means of unbounded numbers (rewards, lengths) within a run: the cluster is the unit. Shares are in ``rates``."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from loopkit.records import Estimate

Values = Sequence[float | None]
"""(B,) finite numbers; None is left out."""


def clustered_mean(values: Values, clusters: Sequence[str]) -> Estimate | None:
    """Mean of (B,) values with a 95 % t interval on clusters - 1 degrees of freedom; None of nothing.

    The variance is the linearised, cluster-robust one of a ratio (Cochran, Sampling Techniques, 1977, 6.4). Assumes
    independent clusters whose sums are not too skewed: with few of them, or rare large values, it covers less.
    Withheld for one cluster, and where all values are equal, since then nothing tells of their spread.
    """
    kept = [(v, c) for v, c in zip(values, clusters, strict=True) if v is not None]
    return _estimate([v for v, _ in kept], [1.0 / len(kept)] * len(kept), [c for _, c in kept]) if kept else None


def clustered_change(values: Values, late: Sequence[bool | None], clusters: Sequence[str]) -> Estimate | None:
    """Mean of the late values minus mean of the early ones (``late`` None: neither), with a 95 % t interval.

    As ``clustered_mean``; a cluster seen early and late pairs. None where there are no values on one side.
    """
    kept = [
        (v, side, c) for v, side, c in zip(values, late, clusters, strict=True) if v is not None and side is not None
    ]
    n_late = sum(side for _, side, _ in kept)
    n_early = len(kept) - n_late
    if not n_late or not n_early:
        return None
    weights = [1.0 / n_late if side else -1.0 / n_early for _, side, _ in kept]
    return _estimate([v for v, _, _ in kept], weights, [c for _, _, c in kept])


def _estimate(values: Sequence[float], weights: Sequence[float], clusters: Sequence[str]) -> Estimate:
    """The weighted sum; residuals are from the mean of what has the same sign of weight."""
    import numpy as np
    from scipy import stats

    x, w = np.array(values, float), np.array(weights, float)
    _, codes = np.unique(np.array(clusters, object).astype(str), return_inverse=True)
    c = int(codes.max()) + 1
    value = float((w * x).sum())
    residual: Any = x.copy()
    for side in (w > 0, w < 0):
        if side.any():
            residual[side] -= x[side].mean()
    variance = float((np.bincount(codes, w * residual, minlength=c) ** 2).sum())
    why = "one cluster" if c < 2 else "all values equal" if np.ptp(x) == 0 else ""
    if why:
        return Estimate(value, None, None, len(x), c, f"withheld: {why}")
    half = float(stats.t.ppf(0.975, c - 1)) * sqrt(c / (c - 1) * variance)
    return Estimate(value, value - half, value + half, len(x), c, "t, cluster-robust")
