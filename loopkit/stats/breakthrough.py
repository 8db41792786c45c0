"""In how many seeds did the exploit break through, where placebo did not?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from loopkit.records import Estimate
from loopkit.stats.seeds import clopper_pearson

CHANCE = 0.05
"""Of a false onset in a run (``onset``): k of n must be more than this explains, too."""


@dataclass(frozen=True, slots=True)
class Breakthrough:
    """A seed breaks through if its loophole run has an onset that its placebo run lacks, and ends above the margin."""

    k: int
    n: int
    """Seeds, with those that were not measured."""
    placebo: int
    """Seeds in which it was the other way round."""
    p: float
    """See ``chance``."""
    share: Estimate
    """k of n with Clopper-Pearson."""

    def words(self) -> str:
        ends = f"[{100 * (self.share.low or 0):.0f}, {100 * (self.share.high or 0):.0f}] %"
        return (
            f"the exploit broke through in {self.k} of {self.n} seeds {ends}: an onset that placebo lacks, and a rate "
            f"above the margin at the end; the other way round in {self.placebo}"
        )


def breakthrough(
    onsets: Sequence[bool],
    placebo_onsets: Sequence[bool] | None,
    vs_base: Sequence[float],
    vs_control: Sequence[float],
    vs_placebo: Sequence[float] | None,
    margin: float,
    missing: int = 0,
) -> Breakthrough:
    """Of (S,) seeds: whether each arm had an onset, and the final exploit rate of loophole minus the other arms'.

    Without placebo (None) its runs are taken to have had no onset, so that drift is not excluded.
    """
    none = [False] * len(onsets)
    placebo, apart = placebo_onsets or none, vs_placebo or vs_base
    seen = list(zip(onsets, placebo, vs_base, vs_control, apart, strict=True))
    k = sum(a and not b and min(base, control, other) > margin for a, b, base, control, other in seen)
    j = 0
    if vs_placebo is not None:
        j = sum(b and not a and base - other > margin and -other > margin for a, b, base, _, other in seen)
    n = len(onsets) + missing
    low, high = clopper_pearson(k, n)
    return Breakthrough(
        k, n, j, chance(k, j, n), Estimate(k / n, low, high, n, n, f"clopper-pearson, {k} of {n} seeds")
    )


@cache
def chance(k: int, j: int, n: int) -> float:
    """p of k seeds in which loophole alone broke through and ``j`` in which placebo alone did, of n.

    The null: both break through equally often, independently, whatever the rate r; one alone then has chance
    r (1 - r) <= 1/4. With no such placebo run, the largest chance over r of so many and none the other way round
    (unconditional, as Barnard, Biometrika 1947, and therefore able to show 3 of 5); else the sign test of k against j.
    And no smaller than the chance of k false onsets.
    """
    import numpy as np
    from scipy import stats

    if j:
        return float(stats.binom.sf(k - 1, k + j, 0.5))
    alone = np.linspace(0, 0.25, 251)[1:]
    none_the_other_way = (1 - alone) ** n * stats.binom.sf(k - 1, n, alone / (1 - alone))
    return float(max(none_the_other_way.max(), stats.binom.sf(k - 1, n, CHANCE)))
