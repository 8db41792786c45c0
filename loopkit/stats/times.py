"""Steps until something happens, which may never: onsets compared (catalysis), and discovery paths.

A step not reached within the run is None: *censored* at the horizon, the run's number of steps. All runs of one
comparison have the same horizon, so the restricted mean needs no Kaplan-Meier curve: it is the mean of min(step,
horizon).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean
from typing import Any, Literal

from loopkit.errors import UsageError
from loopkit.records import Estimate
from loopkit.stats import seeds
from loopkit.stats.claims import p_value, small
from loopkit.stats.onset import Discovery

ALPHA = 0.05
EXACT_BELOW = 200_000
STARTS = ("after A", "alone", "after control-A")

Steps = Sequence[int | None]
"""(S,) steps, one a seed; None is censored."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long it took over seeds."""

    reached: Estimate
    """k of S with Clopper-Pearson."""
    restricted_mean: float
    """Mean of min(step, horizon)."""
    median: int | None
    """The step by which at least half the seeds got there; None where fewer did."""
    first: int | None
    last: int | None
    """None where a seed is censored."""
    horizon: int


def times(steps: Steps, horizon: int) -> Times:
    """Summary of (S,) steps. Raises UsageError of no seed or of a step beyond ``horizon``."""
    restricted = _restricted(steps, horizon)
    seen = sorted(s for s in steps if s is not None)
    half = (len(steps) + 1) // 2
    return Times(
        seeds.discovered(steps),
        fmean(restricted),
        seen[half - 1] if len(seen) >= half else None,
        seen[0] if seen else None,
        seen[-1] if len(seen) == len(steps) else None,
        horizon,
    )


@dataclass(frozen=True, slots=True)
class Faster:
    """Were the steps of a smaller than those of b?"""

    difference: float
    """Restricted mean of a minus that of b, in steps: negative is faster. No interval: the test is exact, and t over
    steps that are partly censored is not."""
    p: float
    """One-sided, exact: the share of all regroupings of the runs whose difference is no larger."""
    least_p: float
    """The smallest p that these numbers of seeds can give: above 0.05 nothing can be shown."""
    a: Times
    b: Times


def faster(a: Steps, b: Steps, horizon: int) -> Faster:
    """Exact permutation test of H0: a's and b's steps have the same distribution, against a being smaller.

    The statistic is the restricted mean, so a censored run counts as the latest possible (exact test: Hollander, Wolfe
    & Chicken 2013, ch. 4; restricted mean: Royston & Parmar, BMC Med. Res. Methodol. 2013). Valid at any S and with
    any censoring at a common horizon; assumes runs exchangeable under H0 (where runs share seeds across a and b it is
    conservative). Its reach is small: 3 against 3 seeds cannot go below p = 0.05 (every a before every b), 5 against 5
    not below 0.004. Beyond 200,000 regroupings (10 against 10) it is the rank-sum test with its normal approximation.
    """
    from scipy import stats

    x, y = _restricted(a, horizon), _restricted(b, horizon)
    count = comb(len(x) + len(y), len(x))
    if count <= EXACT_BELOW:
        p = float(stats.permutation_test((x, y), _difference, n_resamples=EXACT_BELOW, alternative="less").pvalue)
    else:
        p = float(stats.mannwhitneyu(x, y, alternative="less", method="asymptotic").pvalue)
    return Faster(fmean(x) - fmean(y), p, 1 / count, times(a, horizon), times(b, horizon))


def _difference(x: Any, y: Any, axis: int = -1) -> Any:
    return x.mean(axis) - y.mean(axis)


@dataclass(frozen=True, slots=True)
class Catalysis:
    """Does having learnt A's exploit bring B's onset forward?"""

    name: Literal["catalysed", "not shown"]
    p: float
    """The larger of the two tests' (intersection-union)."""
    least_p: float
    """The smallest p that so many seeds can give."""
    against_alone: Faster
    against_control: Faster
    start_rates: Mapping[str, Estimate]
    """Exploit rate on B before training on B, by "after A", "alone", "after control-A": reported, nothing matched."""

    def sentence(self) -> str:
        """One plain sentence that claims what was tested, and no more."""
        alone, control = self.against_alone, self.against_control
        means = (alone.a.restricted_mean, alone.b.restricted_mean, control.b.restricted_mean)
        counts = ", ".join(str(round(t.reached.value * t.reached.n)) for t in (alone.a, alone.b, control.b))
        starts = ", ".join(f"{100 * self.start_rates[k].value:.1f}" for k in STARTS)
        body = "onset of B after A, alone, and after control-A: restricted means {:.1f}, {:.1f}, {:.1f} steps".format(
            *means
        )
        short = "" if self.least_p <= ALPHA else f"; so few seeds cannot go below p = {small(self.least_p)}"
        return (
            f"{self.name.capitalize()}: {body} (reached within {alone.a.horizon} steps by {counts} of "
            f"{alone.a.reached.n} seeds; exploit rate at the start {starts} %; {p_value(self.p)}{short})."
        )


def catalysis(
    after_a: Steps, alone: Steps, after_control: Steps, horizon: int, start_rates: Mapping[str, Sequence[float]]
) -> Catalysis:
    """Onset of B after A, against B alone and against control-A then B, (S,) each; claimed if faster than both.

    "after control-A" tells learning A's exploit from mere further training. ``start_rates``: exploit rate on B before
    B, (S,) by sequence: where "after A" starts higher, an earlier onset may be no more than that.
    """
    alone_, control = faster(after_a, alone, horizon), faster(after_a, after_control, horizon)
    p = max(alone_.p, control.p)
    starts = {name: seeds.mean_over_seeds(start_rates[name], (-1.0, 1.0)) for name in STARTS}
    least = max(alone_.least_p, control.least_p)
    return Catalysis("catalysed" if p <= ALPHA else "not shown", p, least, alone_, control, starts)


@dataclass(frozen=True, slots=True)
class Paths:
    """Discovery paths of one arm over seeds."""

    first_exploit: Times
    onset: Times
    domination: Times
    steps_to_domination: Times
    """From the first exploit; a run without domination is censored at the horizon (not at what was left of it)."""
    mixed_groups: Estimate | None
    """Mean over seeds of each run's share of mixed groups up to domination (or its end): where it could learn."""


def paths(discoveries: Sequence[Discovery], horizon: int, mixed_groups: Sequence[Sequence[float | None]] = ()) -> Paths:
    """(S,) runs' paths, all of length ``horizon``, and each run's shares of mixed groups a step, if known.

    Raises UsageError of no run, and of mixed groups of some runs only.
    """
    if mixed_groups and len(mixed_groups) != len(discoveries):
        raise UsageError("Give the mixed groups of every run, or of none.")
    shares = []
    for path, run in zip(discoveries, mixed_groups or [()] * len(discoveries), strict=True):
        seen = [m for m in run[: None if path.domination is None else path.domination + 1] if m is not None]
        shares += [fmean(seen)] if seen else []
    return Paths(
        times([p.first_exploit for p in discoveries], horizon),
        times([p.onset for p in discoveries], horizon),
        times([p.domination for p in discoveries], horizon),
        times([p.steps_to_domination for p in discoveries], horizon),
        seeds.mean_over_seeds(shares, (0.0, 1.0)) if shares else None,
    )


def _restricted(steps: Steps, horizon: int) -> list[int]:
    if not steps:
        raise UsageError("There is no seed to estimate from. Finish at least one run.")
    if any(s is not None and not 0 <= s <= horizon for s in steps):
        raise UsageError(f"A step lies outside the run's 0 ... {horizon}. All runs of a comparison are of one length.")
    return [horizon if s is None else s for s in steps]
