"""Differences over seeds with their power, and families of them.

Transfer (target's exploit rate minus the base model's) and the comparison of trainers are contrasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Literal

from loopkit.errors import UsageError
from loopkit.records import Estimate
from loopkit.stats import seeds


@dataclass(frozen=True, slots=True)
class Contrast:
    """Mean difference of two arms over seeds paired by seed, and what these seeds could have shown."""

    estimate: Estimate
    p: float
    """Of the t test against no difference, two-sided unless said otherwise."""
    sign_p: float
    """Of the sign test, same sides: the median run, whatever the distribution."""
    smallest_visible: float | None
    """The true difference that this many seeds would have shown with 80 % power (see ``seeds.smallest_visible``)."""
    p_adjusted: float | None = None
    """Holm's, over the family this contrast belongs to; None of one that stands alone."""


def contrast(
    a: Sequence[float],
    b: Sequence[float],
    bounds: tuple[float, float] = (-1.0, 1.0),
    side: Literal["two", "greater", "less"] = "two",
) -> Contrast:
    """a - b over (S,) seeds, paired: a[i] and b[i] share seed i. For transfer, b is the base model on the target.

    Assumes independent seeds whose differences are roughly normal; the sign test assumes independence alone. Raises
    UsageError of unequal lengths or no seed.
    """
    differences = paired(a, b)
    greater, less = (seeds.one_sided_p(differences, 0.0, s) for s in ("greater", "less"))
    above, below = (seeds.sign_p(differences, 0.0, s) for s in ("greater", "less"))
    two = side == "two"
    p, sign = (
        (min(1.0, 2 * min(greater, less)), min(1.0, 2 * min(above, below)))
        if two
        else ((greater, above) if side == "greater" else (less, below))
    )
    reach = seeds.smallest_visible(differences, alpha=0.025 if two else 0.05)
    return Contrast(seeds.mean_over_seeds(differences, bounds), p, sign, reach)


def paired(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """(S,) differences a - b. Raises UsageError of unequal lengths."""
    if len(a) != len(b):
        raise UsageError("Differences are paired by seed: give as many of each. Leave out seeds that lack an arm.")
    return [x - y for x, y in zip(a, b, strict=True)]


def minus(a: Estimate, b: Estimate) -> Estimate:
    """a - b of two estimates of one run, with a 95 % interval conditional on the seed; clusters as in the smaller.

    Square-and-add of their limits as if independent (Newcombe, Stat. Med. 1998, 17:873; Zou & Donner, Stat. Med.
    2008). Two policies on the same prompts resemble each other, so this is conservative; with the flags at hand
    ``rates.gap`` pairs them. Works for differences of gaps. Withheld where either is.
    """
    value, n, clusters = a.value - b.value, a.n + b.n, min(a.clusters, b.clusters)
    if a.low is None or a.high is None or b.low is None or b.high is None:
        why = a.method if a.low is None else b.method
        return Estimate(value, None, None, n, clusters, why)
    below = sqrt((a.value - a.low) ** 2 + (b.high - b.value) ** 2)
    above = sqrt((a.high - a.value) ** 2 + (b.value - b.low) ** 2)
    return Estimate(value, value - below, value + above, n, clusters, "newcombe, as if independent")


def holm(p: Sequence[float]) -> list[float]:
    """(K,) p-values -> (K,) adjusted for their number, so that any false claim among them has chance at most alpha.

    Step-down (Holm, Scand. J. Stat. 1979); holds under any dependence.
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = least
    return adjusted


def compare(
    arms: Mapping[str, Sequence[float]], bounds: tuple[float, float] = (-1.0, 1.0), against: str | None = None
) -> dict[tuple[str, str], Contrast]:
    """Every pair of arms (or each arm against ``against``) over the same (S,) seeds, Holm-adjusted as one family.

    For `algorithms`: arms are trainers, values final exploit rates. Same assumptions as ``contrast``.
    """
    if against is not None and against not in arms:
        raise UsageError(f"There is no {against!r} among {', '.join(arms)}.")
    pairs = (
        [(a, b) for a, b in combinations(arms, 2)] if against is None else [(a, against) for a in arms if a != against]
    )
    contrasts = {pair: contrast(arms[pair[0]], arms[pair[1]], bounds) for pair in pairs}
    adjusted = holm([c.p for c in contrasts.values()])
    return {
        pair: Contrast(c.estimate, c.p, c.sign_p, c.smallest_visible, p)
        for (pair, c), p in zip(contrasts.items(), adjusted, strict=True)
    }
