"""Rates within a run: the cluster (a prompt, or a pair) is the unit, and the seed is held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from loopkit.records import Estimate

Flags = Sequence[bool | None] | Sequence[float | None]
"""(B,) 0/1 flags or fractional scores in [0, 1]; None abstains."""


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a binomial share (Wilson, JASA 1927). ``n`` may be an effective, fractional sample size."""
    from scipy import stats

    return _wilson(successes / n, n, float(stats.norm.ppf((1 + level) / 2)))


def share(flags: Flags, clusters: Sequence[str]) -> Estimate | None:
    """Mean of (B,) flags with a 95 % interval; clusters (B,) are independent, what is inside one need not be.

    One observation a cluster: Wilson (for fractional scores an upper bound, since a variable in [0, 1] with mean p
    varies no more than a coin does). Otherwise Wilson with the effective sample size n / deff and with t on clusters
    - 1 degrees of freedom for z, as surveys do it (Korn & Graubard, Survey Methodology 1998; Dean & Pagano, J. Surv.
    Stat. Methodol. 2015). deff is the cluster-robust variance of the mean over p (1 - p) / n, at least 1. Near 0 and
    1 few clusters tell of it, so it is averaged with "each cluster is one observation", which weighs as one telling
    cluster and is all that is left where flags are equal; without this, coverage falls to 0.90 (16 clusters of 8 at
    0.1). One cluster of several observations says nothing about its own spread: the interval is withheld. None where
    every flag abstains.
    """
    x, (codes,) = _kept(flags, clusters)
    return _arm(x, codes).estimate() if len(x) else None


def gap(flags: Flags, groups: Sequence[bool], clusters: Sequence[str]) -> Estimate | None:
    """P(flag | group True) - P(flag | group False) from (B,) each, with a 95 % interval. None if a group is empty.

    Newcombe's square-and-add (Stat. Med. 1998, 17:873 unpaired, 17:2635 paired, method 10 of both; generalised as
    MOVER by Zou & Donner 2008): the limits of ``share`` in each group, combined with the correlation of the two
    means that clusters seen in both groups cause. With one flag of each kind a cluster it is method 10 exactly; so
    pairs narrow the interval, and limits stay sound where a rate is 0 or 1.
    """
    x, (codes, side) = _kept(flags, clusters, groups)
    true, false = (_arm(x[side == s], codes[side == s]) if (side == s).any() else None for s in (1, 0))
    if true is None or false is None:
        return None
    value, units = true.p - false.p, len(set(codes.tolist()))
    if true.limits is None or false.limits is None:
        return Estimate(value, None, None, len(x), units, "withheld: one cluster")
    r = _correlation(x, codes, side)
    below = _hypotenuse(true.p - true.limits[0], false.limits[1] - false.p, r or 0.0)
    above = _hypotenuse(true.limits[1] - true.p, false.p - false.limits[0], r or 0.0)
    method = "newcombe, unpaired" if r is None else "newcombe, paired by cluster"
    return Estimate(value, max(-1.0, value - below), min(1.0, value + above), len(x), units, method)


def between(one: Estimate, other: Estimate) -> Estimate:
    """``one`` - ``other``, of rollouts that have nothing in common, with a 95 % interval where both have one.

    Square-and-add of the two distances (MOVER: Zou & Donner, Stat. Med. 2008), as of ``gap`` unpaired.
    """
    value, n, units = one.value - other.value, one.n + other.n, one.clusters + other.clusters
    if one.low is None or one.high is None or other.low is None or other.high is None:
        why = next(e.method for e in (one, other) if e.low is None or e.high is None)
        return Estimate(value, None, None, n, units, why)
    below = _hypotenuse(one.value - one.low, other.high - other.value, 0.0)
    above = _hypotenuse(one.high - one.value, other.value - other.low, 0.0)
    return Estimate(value, value - below, value + above, n, units, "newcombe, unpaired")


@dataclass(frozen=True)
class _Arm:
    p: float
    limits: tuple[float, float] | None
    n: int
    clusters: int
    method: str

    def estimate(self) -> Estimate:
        low, high = self.limits or (None, None)
        return Estimate(self.p, low, high, self.n, self.clusters, self.method)


def _arm(x: Any, codes: Any) -> _Arm:
    """(N,) values and cluster codes, N > 0 -> their mean and its limits."""
    import numpy as np
    from scipy import stats

    n, p = len(x), float(x.mean())
    _, codes = np.unique(codes, return_inverse=True)
    c = int(codes.max()) + 1
    if c == n:
        return _Arm(p, wilson(p * n, n), n, c, "wilson")
    if c == 1:
        return _Arm(p, None, n, c, "withheld: one cluster")
    spread = float((np.bincount(codes, x - p) ** 2).sum())
    least = n / c  # the deff at which each cluster counts as one observation
    deff = max(1.0, c / (c - 1) * spread / (n * p * (1 - p))) if spread > 1e-12 * n else least  # beyond rounding
    telling = min(len(np.unique(codes[x > 0])), len(np.unique(codes[x < 1])))
    deff = (telling * deff + max(least, deff)) / (telling + 1)
    method = f"wilson, cluster-robust (deff {deff:.1f})"
    return _Arm(p, _wilson(p, max(1.0, n / deff), float(stats.t.ppf(0.975, c - 1))), n, c, method)


def _correlation(x: Any, codes: Any, side: Any) -> float | None:
    """Correlation of the two groups' means that shared clusters cause; None where too few are shared to pair.

    Clusters' summed residuals (those of the linearised variance) are correlated over all clusters, so that unshared
    ones dilute it. A positive covariance is first reduced by half an observation of each kind, as in method 10.
    """
    import numpy as np

    c = int(codes.max()) + 1
    sizes = [np.bincount(codes[side == s], minlength=c) for s in (1, 0)]
    sums = [np.bincount(codes[side == s], x[side == s] - x[side == s].mean(), minlength=c) for s in (1, 0)]
    shared = (sizes[0] > 0) & (sizes[1] > 0)
    scale = sqrt(float((sums[0] ** 2).sum() * (sums[1] ** 2).sum()))
    if shared.sum() < 3:
        return None
    if scale < 1e-12:  # a group without variance: paired, and uncorrelated
        return 0.0
    together = float((sums[0] * sums[1]).sum())
    if together > 0:
        together = max(0.0, together - float(np.sqrt(sizes[0] * sizes[1])[shared].mean()) / 2)
    return max(-1.0, min(1.0, together / scale))


def _hypotenuse(a: float, b: float, r: float) -> float:
    return sqrt(max(0.0, a * a - 2 * r * a * b + b * b))


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    centre, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    shrink = 1 + z * z / n
    # The limits meet 0 and 1 exactly; min and max only take off rounding.
    return max(0.0, min(p, (centre - half) / shrink)), min(1.0, max(p, (centre + half) / shrink))


def _kept(flags: Flags, clusters: Sequence[str], *others: Sequence[bool]) -> tuple[Any, list[Any]]:
    """What does not abstain: (N,) values, and [(N,) cluster codes, (N,) of each other column]."""
    import numpy as np

    rows = [row for row in zip(flags, clusters, *others, strict=True) if row[0] is not None]
    code: dict[str, int] = {}
    x = np.array([row[0] for row in rows], float)
    columns = [np.array([code.setdefault(row[1], len(code)) for row in rows], int)]
    return x, columns + [np.array([bool(row[i]) for row in rows], int) for i in range(2, 2 + len(others))]
