"""Early warning: would a cheap monitor have raised an alarm before the exploit dominated?

A monitor is one number a step (observed reward, shadow gap, length, KL, entropy, a detector on 32 rollouts). Its
threshold is set on control runs and tested on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loopkit.records import Estimate
from loopkit.stats.times import Times

EXPLORATORY_BELOW = 60
"""Control runs: with 60 none of which alarms, false alarms are at most 5 % a run (95 % one-sided limit)."""
WARM, WINDOW = 5, 5

Series = Sequence[float | None]
"""(T,) one number a step; None: not measured."""
Side = Literal["rise", "fall", "both"]


def deviation(series: Series, side: Side = "both") -> list[float | None]:
    """(T,) -> (T,) how far the mean of the last 5 steps lies from the mean of the run's first 5; None before."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Threshold:
    value: float
    level: float
    """False alarms a run it promises: 0.05, or 1 / (n + 1) where fewer than 19 control runs allow no less."""
    runs: int


def threshold(controls: Sequence[Series], side: Side = "both", alpha: float = 0.05) -> Threshold:
    """From (n, T) control runs: the ceil((1 - alpha)(n + 1))-th smallest of their largest deviations.

    Split-conformal: a further exchangeable control run of the same length exceeds it with chance at most ``alpha``
    (Vovk, Gammerman & Shafer 2005), whatever the series' distribution and autocorrelation.
    """
    raise NotImplementedError


def alarm(series: Series, limit: Threshold, side: Side = "both") -> int | None:
    """First step whose deviation exceeds the threshold, else None."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Warning_:
    """How a monitor did."""

    threshold: Threshold
    false_alarms: Estimate | None
    """On control runs not used for the threshold; None where none were kept."""
    missed: Estimate | None
    """Runs that dominated without an alarm before it; None where none dominated."""
    lead: Times | None
    """Steps from alarm to domination over runs that were warned in time."""
    exploratory: bool


def early_warning(
    controls: Sequence[Series],
    tests: Sequence[Series],
    runs: Sequence[tuple[Series, int | None]],
    side: Side = "both",
    alpha: float = 0.05,
) -> Warning_:
    """Threshold from ``controls``, false alarms from ``tests``, leads and misses from ``runs`` (series, domination)."""
    raise NotImplementedError
