"""Steps until something happens, which may never: onsets compared (catalysis), and discovery paths.

A step not reached within the run is None: *censored* at the horizon, the run's number of steps. All runs of one
comparison have the same horizon, so the restricted mean needs no Kaplan-Meier curve: it is the mean of min(step,
horizon).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loopkit.errors import UsageError
from loopkit.records import Estimate
from loopkit.stats import seeds
from loopkit.stats.onset import Discovery

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
        sum(restricted) / len(restricted),
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

    The statistic is the restricted mean, so a censored run counts as the latest possible (Hollander & Wolfe 1999 for
    the exact test; Royston & Parmar 2013 for the restricted mean). Valid at any S and with any censoring at a common
    horizon; assumes runs exchangeable under H0 (where runs share seeds across a and b it is conservative). Its reach
    is small: 3 against 3 seeds cannot go below p = 0.05 (every a before every b), 5 against 5 not below 0.004.
    """
    raise NotImplementedError


CatalysisName = Literal["catalysed", "faster, but not for A", "not faster", "cannot be shown"]


@dataclass(frozen=True, slots=True)
class Catalysis:
    """Does having learnt A's exploit bring B's onset forward?"""

    name: Literal["catalysed", "inconclusive"]
    p: float
    """The larger of the two tests' (intersection-union)."""
    least_p: float
    against_alone: Faster
    against_control: Faster
    start_rates: Mapping[str, Estimate]
    """Exploit rate on B before training on B, by "after A", "alone", "after control-A": reported, nothing matched."""

    def sentence(self) -> str:
        """One plain sentence that claims what was tested, and no more."""
        raise NotImplementedError


def catalysis(
    after_a: Steps, alone: Steps, after_control: Steps, horizon: int, start_rates: Mapping[str, Sequence[float]]
) -> Catalysis:
    """Onset of B after A, against B alone and against control-A then B, (S,) each; claimed if faster than both.

    "after control-A" tells learning A's exploit from mere further training. ``start_rates``: exploit rate on B before
    B, (S,) by sequence: where "after A" starts higher, an earlier onset may be no more than that.
    """
    raise NotImplementedError


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


def paths(found: Sequence[Discovery], horizon: int, mixed_groups: Sequence[Sequence[float | None]] = ()) -> Paths:
    """(S,) runs' paths, and (S, T) shares of mixed groups a step."""
    raise NotImplementedError


def _restricted(steps: Steps, horizon: int) -> list[int]:
    if not steps:
        raise UsageError("There is no seed to estimate from. Finish at least one run.")
    if any(s is not None and not 0 <= s <= horizon for s in steps):
        raise UsageError(f"A step lies outside the run's 0 ... {horizon}. All runs of a comparison are of one length.")
    return [horizon if s is None else s for s in steps]
