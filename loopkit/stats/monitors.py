"""Early warning: would a cheap monitor have raised an alarm before the exploit dominated?

A monitor is one number a step (observed reward, shadow gap, length, KL, entropy, a detector on 32 rollouts). Its
threshold is set on control runs and tested on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean
from typing import Literal

from loopkit.errors import UsageError
from loopkit.records import Estimate
from loopkit.stats.seeds import clopper_pearson

EXPLORATORY_BELOW = 60
"""Control runs: with 60 none of which alarms, false alarms are at most 5 % a run (95 % one-sided limit)."""
WARM, WINDOW = 5, 3

Series = Sequence[float | None]
"""(T,) one number a step; None: not measured."""
Side = Literal["rise", "fall", "both"]


def deviation(series: Series, side: Side = "both") -> list[float | None]:
    """(T,) -> (T,) how far the mean of the last 3 values lies from the mean of the run's first 5; None before.

    "both" takes the distance, "fall" counts downwards. The run is its own reference, so that runs may start anywhere.
    """
    sign = -1.0 if side == "fall" else 1.0
    seen: list[float] = []
    out: list[float | None] = []
    for value in series:
        if value is not None:
            seen.append(sign * value)
        if value is None or len(seen) < WARM + WINDOW:
            out.append(None)
        else:
            moved = fmean(seen[-WINDOW:]) - fmean(seen[:WARM])
            out.append(abs(moved) if side == "both" else moved)
    return out


@dataclass(frozen=True, slots=True)
class Threshold:
    """Set on ``runs`` control runs; a deviation beyond ``value`` is an alarm."""

    value: float
    level: float
    """False alarms a run that it promises: at most ``alpha``, or 1 / (n + 1) where n control runs allow no less."""
    runs: int


def threshold(controls: Sequence[Series], side: Side = "both", alpha: float = 0.05) -> Threshold:
    """From (n, T) control runs: the ceil((1 - alpha)(n + 1))-th smallest of their largest deviations.

    Split-conformal: a further exchangeable control run of the same length exceeds it with chance at most ``alpha``
    (Vovk, Gammerman & Shafer 2005), whatever the series' distribution and autocorrelation. That chance is over
    thresholds too: one threshold may do worse. Raises UsageError of no run, or of one shorter than 8 values.
    """
    peaks = sorted(_peak(run, side) for run in controls)
    if not peaks:
        raise UsageError("There is no control run to set a threshold on.")
    n = len(peaks)
    rank = min(n, ceil((1 - alpha) * (n + 1) - 1e-9))
    return Threshold(peaks[rank - 1], (n + 1 - rank) / (n + 1), n)


def _peak(series: Series, side: Side) -> float:
    deviations = [d for d in deviation(series, side) if d is not None]
    if not deviations:
        raise UsageError(f"A monitor needs at least {WARM + WINDOW} values a run.")
    return max(deviations)


def alarm(series: Series, limit: Threshold, side: Side = "both") -> int | None:
    """First step whose deviation exceeds the threshold, else None."""
    return next((t for t, d in enumerate(deviation(series, side)) if d is not None and d > limit.value), None)


@dataclass(frozen=True, slots=True)
class EarlyWarning:
    """How a monitor did. Shares are over runs, with Clopper-Pearson."""

    threshold: Threshold
    false_alarms: Estimate | None
    """On control runs not used for the threshold; None where none were kept."""
    missed: Estimate | None
    """Of the runs that dominated: no alarm before domination. None where none dominated."""
    leads: tuple[int, ...]
    """Steps from alarm to domination, of the runs that were warned in time."""
    exploratory: bool
    """Fewer than 60 control runs in all."""


def early_warning(
    controls: Sequence[Series],
    tests: Sequence[Series],
    runs: Sequence[tuple[Series, int | None]],
    side: Side = "both",
    alpha: float = 0.05,
) -> EarlyWarning:
    """Threshold from ``controls``, false alarms from ``tests``, leads and misses from ``runs`` (series, domination).

    ``controls`` and ``tests`` must be different runs of the same kind and length (no exploit pays in either). A run
    that never dominates has nothing to be warned of, and counts in neither. Name ``side`` before looking.
    """
    limit = threshold(controls, side, alpha)
    alarms = [alarm(series, limit, side) for series in tests]
    dominated = [(alarm(series, limit, side), step) for series, step in runs if step is not None]
    leads = tuple(step - when for when, step in dominated if when is not None and when < step)
    return EarlyWarning(
        limit,
        _share(sum(a is not None for a in alarms), len(alarms)),
        _share(len(dominated) - len(leads), len(dominated)),
        leads,
        len(controls) + len(tests) < EXPLORATORY_BELOW,
    )


def _share(k: int, n: int) -> Estimate | None:
    if n == 0:
        return None
    low, high = clopper_pearson(k, n)
    return Estimate(k / n, low, high, n, n, f"clopper-pearson, {k} of {n} runs")
