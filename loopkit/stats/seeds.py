"""Estimates and tests over runs: the seed is the unit, and below 5 seeds a result is called descriptive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import sqrt
from statistics import fmean, stdev
from typing import Literal

from loopkit.errors import UsageError
from loopkit.records import Estimate

DESCRIPTIVE_BELOW = 5
FEWER = f"fewer than {DESCRIPTIVE_BELOW} seeds"
RESOLUTION = 1e-3
"""Seeds are never taken to agree better than this: an evaluation's own noise is at least as large."""


def few(seeds: int) -> bool:
    """Whether a result over so many seeds is descriptive: nothing is tested, and intervals over seeds are withheld."""
    return seeds < DESCRIPTIVE_BELOW


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
    """Mean of (S,) values with the 95 % t interval (Student 1908), withheld where simulation says that it fails.

    Assumes independent seeds, roughly normal, whose spread these show. Withheld below 5 seeds (where each seed breaks
    through or not with chance 0.5, three cover 0.75, five 0.94), where it would run past an end of the scale
    (``bounds``: then the seeds are skewed or split, and near an end five cover 0.84), for one seed and for equal
    seeds. A mode that no seed reached cannot be seen in their values (see ``unseen``): where one seed in five breaks
    through, five cover 0.67 whatever one does. So read it beside ``discovered``. No bootstrap: over a handful of seeds
    it does worse (0.73 at 3, 0.83 at 5). The measured table is in docs/statistics.md.
    """
    from scipy import stats

    _need(values)
    s, value = len(values), fmean(values)
    why = "one seed" if s < 2 else "all seeds equal" if min(values) == max(values) else ""
    if not why and few(s):
        why = FEWER
    if not why:
        half = float(stats.t.ppf(0.975, s - 1)) * stdev(values) / sqrt(s)
        low, high = value - half, value + half
        if bounds is None or bounds[0] <= low <= high <= bounds[1]:
            return Estimate(value, low, high, s, s, "t over seeds")
        why = "past the end of the scale, the seeds are skewed or split"
    return Estimate(value, None, None, s, s, f"withheld: {why}")


def unseen(seeds: int, level: float = 0.95, others: int = 0) -> float:
    """The largest share of runs that could go another way where ``others`` of this many seeds did (1 - level chance).

    The one-sided Clopper-Pearson limit; of none in S: 0.63 at 3, 0.45 at 5, 0.26 at 10. No test or interval over the
    seeds' values reaches further, since none can see a mode that no seed reached.
    """
    from scipy import stats

    return 1.0 if others >= seeds else float(stats.beta.ppf(level, others + 1, seeds - others))


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


def sign_p(differences: Sequence[float], margin: float, side: Literal["greater", "less"]) -> float:
    """Exact sign test over (S,) per-seed differences of H0: the median run's is <= margin ("greater"), or >= ("less").

    Assumes independent seeds and nothing of their distribution. At least 5 seeds, all on one side, give p <= 0.05.
    """
    from scipy import stats

    beyond = sum(d > margin if side == "greater" else d < margin for d in differences)
    return float(stats.binom.sf(beyond - 1, len(differences), 0.5))


def smallest_visible(differences: Sequence[float], alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest true distance from its margin that the one-sided t test would have shown with this power.

    From the non-central t, taking the observed spread of these (S,) differences for the true one; so it describes
    the design's reach, not these data's result. None below two seeds.
    """
    s = len(differences)
    return None if s < 2 else _shift(s, alpha, power) * max(stdev(differences), RESOLUTION) / sqrt(s)


@cache
def _shift(s: int, alpha: float, power: float) -> float:
    """The non-centrality at which the one-sided t test over s seeds has this power."""
    from scipy import optimize, stats

    critical = stats.t.ppf(1 - alpha, s - 1)
    return float(optimize.brentq(lambda nc: float(stats.nct.sf(critical, s - 1, nc)) - power, 0.0, 60.0))


def _need(values: Sequence[object]) -> None:
    if not values:
        raise UsageError("There is no seed to estimate from. Finish at least one run.")
