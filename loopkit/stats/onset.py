"""When a run discovers its exploit: onset, beside its placebo run or against a base rate, then domination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from loopkit.errors import ContractError
from loopkit.records import Estimate

BETS = (0.03, 0.1, 0.3, 0.6, 0.95)
"""Shares of the largest admissible bet; the small ones see small lasting rises, the large ones sudden ones."""


def onset(rates: Sequence[float | None], base_high: float, *, low: float = 0.0, alpha: float = 0.05) -> int | None:
    """First step (index into the run's (T,) rates; None: not measured) shown to lie above the base rate, else None.

    Tests H0: E[rate_t | past] <= m at every step t, with m = ``base_high`` the base rate's upper limit. Each bet on a
    rise since step j multiplies up prod (1 + lambda (rate_i - m)), which H0 keeps from growing on average; their
    mixture over starts j (1/T each) and over a grid of lambda therefore exceeds 2 / alpha in a whole run with chance
    at most alpha / 2 (Ville 1939; betting: Waudby-Smith & Ramdas, JRSS-B 2024; mixing starts: Shin, Ramdas & Rinaldo,
    e-detectors, 2023). The other alpha / 2 is spent on ``base_high``: pass a one-sided 1 - alpha / 2 limit, which is
    the ``high`` of a 95 % interval. So false onsets are at most ``alpha`` a run, however correlated the rollouts of a
    step are; needed are rates no smaller than ``low`` (0, or -1 for a gap) and a T fixed beforehand (pad with None).
    """
    seen = [r for r in rates if r is not None]
    if any(not r >= low for r in seen):
        raise ContractError(f"An exploit rate of {min(seen)} lies below its range. Pass the detector's `low`.")
    if base_high <= low:
        raise ContractError(f"base_high = {base_high} is no upper limit of a rate in [{low}, ...]. Pass an interval's.")
    stakes = [share / (base_high - low) for share in BETS]
    weight = 1 / (len(rates) * len(stakes)) if rates else 0.0
    started, waiting = [0.0] * len(stakes), 1.0
    for step, rate in enumerate(rates):
        waiting -= weight * len(stakes)
        growth = [1.0 if rate is None else 1 + stake * (rate - base_high) for stake in stakes]
        started = [(wealth + weight) * g for wealth, g in zip(started, growth, strict=True)]
        if rate is not None and waiting + sum(started) >= 2 / alpha:
            return step
    return None


WINDOW = 5
"""Steps whose rates are averaged: of a gap, a step's own is a difference of two small counts."""
WIDE = 1.3
"""Of a window's 95 % interval, so that wander of either run is no onset: see ``apart``."""


def pooled(rates: Sequence[Estimate], wide: float = 1.0) -> tuple[float, float] | None:
    """95 % limits of the mean of independent rates, weighted by their rollouts; None of none with an interval.

    The distances of the rates' limits are squared and added (Zou & Donner, Stat. Med. 2008), and times ``wide``.
    """
    seen = [(r.n, r.value, r.low, r.high) for r in rates if r.low is not None and r.high is not None]
    n = sum(k for k, *_ in seen)
    if not n:
        return None
    mean = sum(k * value for k, value, _, _ in seen) / n
    below = sqrt(sum((k / n * (value - low)) ** 2 for k, value, low, _ in seen))
    above = sqrt(sum((k / n * (high - value)) ** 2 for k, value, _, high in seen))
    return mean - wide * below, mean + wide * above


def windows(rates: Sequence[Estimate | None]) -> list[tuple[float, float] | None]:
    """(T,) limits of the last WINDOW measured rates up to each step, drawn out by WIDE; None: fewer were measured.

    A run of fewer steps than WINDOW has one window, of them all.
    """
    size = min(WINDOW, len(rates))
    out: list[tuple[float, float] | None] = []
    last: list[Estimate] = []
    for rate in rates:
        if rate is not None and rate.low is not None:
            last = [*last, rate][-size:]
        out.append(pooled(last, WIDE) if len(last) == size else None)
    return out


def apart(rates: Sequence[Estimate | None], placebo: Sequence[Estimate | None]) -> int | None:
    """First step whose window lies wholly above every window of the placebo run of the same seed, else None.

    ``rates``, ``placebo``: a run's rate at each step, its own number of steps each. What placebo reached at any time,
    by drift or by chance, is no onset: under H0, that pay makes no difference, the two runs are exchangeable, so that
    either is as likely to reach the highest; and it must be higher by the width of two intervals. WINDOW and WIDE are
    from simulations: no false onset in 1,000 runs of 20 to 80 steps where rates stand still, 0.035 of runs where they
    wander by 10 points (docs/simulations.md). It has no bound for runs that wander further.
    """
    top = max((w[1] for w in windows(placebo) if w), default=None)
    if top is None:
        return None
    return next((step for step, w in enumerate(windows(rates)) if w and w[0] > top), None)


def domination(rates: Sequence[float | None], onset: int | None, threshold: float = 0.5) -> int | None:
    """First measured step >= onset from which every rate of (T,) ``rates`` is at least ``threshold``, else None."""
    if onset is None:
        return None
    found = None
    for step in range(len(rates) - 1, onset - 1, -1):
        rate = rates[step]
        if rate is not None:
            if rate < threshold:
                break
            found = step
    return found


@dataclass(frozen=True, slots=True)
class Discovery:
    """One run's path to its exploit, in steps; None is censored: not reached within the run."""

    onset: int | None
    domination: int | None
    first_exploit: int | None
    """First step with a rate above 0: with a base rate above 0 it is chance, and often step 0."""
    steps_to_domination: int | None
    """From the first exploit."""


def discovery(rates: Sequence[float | None], start: int | None, threshold: float = 0.5) -> Discovery:
    """The path through a run's (T,) exploit rates, given its onset; see ``onset``, ``apart`` and ``domination``."""
    dominated = domination(rates, start, threshold)
    first = next((step for step, rate in enumerate(rates) if rate is not None and rate > 0), None)
    return Discovery(start, dominated, first, None if dominated is None or first is None else dominated - first)
