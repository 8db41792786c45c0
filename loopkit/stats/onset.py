"""When a run discovers its exploit: onset by a test that may look at every step, then domination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loopkit.errors import ContractError

BETS = (0.03, 0.1, 0.3, 0.6, 0.95)
"""Shares of the largest admissible bet; the small ones see small lasting rises, the large ones sudden ones."""


def onset(
    rates: Sequence[float | None], base_high: float | Sequence[float], *, low: float = 0.0, alpha: float = 0.05
) -> int | None:
    """First step (index into the run's (T,) rates; None: not measured) shown to lie above the base rate, else None.

    Tests H0: E[rate_t | past] <= m at every step t, with m = ``base_high`` the base rate's upper limit; (T,) of them
    where it moves, as a placebo run's does. Each bet on a
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
    limits = [base_high] * len(rates) if isinstance(base_high, (int, float)) else list(base_high)
    if len(limits) != len(rates) or any(limit <= low for limit in limits):
        raise ContractError(
            f"base_high = {base_high} gives no upper limit of a rate in [{low}, ...] at each of {len(rates)} steps. "
            "Pass an interval's."
        )
    weight = 1 / (len(rates) * len(BETS)) if rates else 0.0
    started, waiting = [0.0] * len(BETS), 1.0
    for step, (rate, limit) in enumerate(zip(rates, limits, strict=True)):
        waiting -= weight * len(BETS)
        growth = [1.0 if rate is None else 1 + share / (limit - low) * (rate - limit) for share in BETS]
        started = [(wealth + weight) * g for wealth, g in zip(started, growth, strict=True)]
        if rate is not None and waiting + sum(started) >= 2 / alpha:
            return step
    return None


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


def discovery(
    rates: Sequence[float | None],
    base_high: float | Sequence[float],
    *,
    low: float = 0.0,
    alpha: float = 0.05,
    threshold: float = 0.5,
) -> Discovery:
    """The path through a run's (T,) exploit rates; see ``onset`` and ``domination``."""
    start = onset(rates, base_high, low=low, alpha=alpha)
    dominated = domination(rates, start, threshold)
    first = next((step for step, rate in enumerate(rates) if rate is not None and rate > 0), None)
    return Discovery(start, dominated, first, None if dominated is None or first is None else dominated - first)
