"""Agreement of two raters on the same items."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from math import sqrt

from loopkit.records import Estimate


def kappa(one: Sequence[Hashable], other: Sequence[Hashable], clusters: Sequence[str]) -> Estimate | None:
    """Cohen's kappa of (B,) verdicts each (Educ. Psychol. Meas. 1960), with a 95 % interval, clusters as the unit.

    kappa = (po - pe) / (1 - pe) is a smooth function of shares, so its variance is that of its influence function,
    summed within clusters (linearisation; with one item a cluster that of Fleiss, Cohen & Everitt, Psychol. Bull.
    1969), and t on clusters - 1 degrees of freedom. None of nothing, or where chance alone agrees on everything (both
    raters say one and the same). The interval is withheld for fewer than 10 clusters, and where there is no
    disagreement, or nothing but, to estimate a variance from.
    """
    n = len(one)
    if n == 0:
        return None
    p = {k: v / n for k, v in Counter(one).items()}
    q = {k: v / n for k, v in Counter(other).items()}
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    chance = sum(share * q.get(k, 0.0) for k, share in p.items())
    if chance > 1 - 1e-12:
        return None
    value, units = (observed - chance) / (1 - chance), len(set(clusters))
    if units < 10 or observed in (0.0, 1.0):
        why = "fewer than 10 clusters" if units < 10 else "no variance to estimate from"
        return Estimate(value, None, None, n, units, f"withheld: {why}")
    sums: defaultdict[str, float] = defaultdict(float)
    for a, b, cluster in zip(one, other, clusters, strict=True):
        by_chance = q.get(a, 0.0) + p.get(b, 0.0) - 2 * chance
        sums[cluster] += ((a == b) - observed) / (1 - chance) - (1 - observed) * by_chance / (1 - chance) ** 2
    from scipy import stats

    error = sqrt(units / (units - 1) * sum(s * s for s in sums.values())) / n
    half = float(stats.t.ppf(0.975, units - 1)) * error
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half), n, units, "linearised, cluster-robust")
