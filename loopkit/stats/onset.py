"""When a run discovers its exploit: onset, beside its placebo run or against a base rate, then domination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
        raise ContractError(
            f"base_high = {base_high} is not an upper limit of a rate in [{low}, ...]. Pass an interval's."
        )
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


LENGTHS = (5, 10, 20)
"""Steps whose rollouts are judged together: of a gap, a step's own rate is a difference of two small counts."""
WIDE = 1.2
"""Of the 95 % interval of a difference of two windows."""
FAR = 2.5
"""Margins by which a window must lie above, so that wander of either run is not an onset: 25 points, less near 0."""
Windows = Mapping[int, Sequence[Estimate | None]]
"""By length: a run's (T,) rates of the last so many steps; None: fewer were measured, or the rate has none."""


def lengths(steps: int) -> tuple[int, ...]:
    """Of a run's windows; a run shorter than the shortest has one, of all its steps."""
    return tuple(n for n in LENGTHS if n <= steps) or ((steps,) if steps else ())


def apart(run: Windows, placebo: Windows, margin: float) -> int | None:
    """First step with a window that lies above every window of that length of the placebo run of the same seed.

    Above: by more than FAR times the ``margin`` of an exploit rate, and by more than WIDE times the half-width of the
    difference's 95 % interval (the two distances squared and added: Zou & Donner, Stat. Med. 2008).

    What placebo reached at any time, by drift or by chance, is not an onset: under H0 (pay makes no difference) the
    two runs are exchangeable, so that either is as likely to reach the highest window, and it must be higher by these
    distances. They are from simulations (results/simulations.md), for rates that stand still and that wander by up to
    10 points; there is no bound for runs that wander further.
    """
    import numpy as np

    first: list[int] = []
    for length in run.keys() & placebo.keys():
        others = _limits(placebo[length])
        limits = _limits(run[length])
        if not len(limits) or not len(others):
            continue
        difference = limits[:, 1, None] - others[None, :, 1]
        wide = WIDE * np.hypot((limits[:, 1] - limits[:, 0])[:, None], (others[:, 2] - others[:, 1])[None, :])
        above = (difference > np.maximum(wide, FAR * margin)).all(1)
        if above.any():
            first.append(int(limits[above.argmax(), 3]))
    return min(first, default=None)


def _limits(rates: Sequence[Estimate | None]) -> Any:
    """(K, 4) of the rates with an interval: lower limit, value, upper limit, step."""
    import numpy as np

    seen = [(r.low, r.value, r.high, step) for step, r in enumerate(rates) if r is not None and r.low is not None]
    return np.array(seen, float).reshape(-1, 4)


def domination(rates: Sequence[float | None], onset: int | None, threshold: float = 0.5) -> int | None:
    """First measured step >= onset from which every rate of (T,) ``rates`` is at least ``threshold``, else None."""
    if onset is None:
        return None
    start = None
    for step in range(len(rates) - 1, onset - 1, -1):
        rate = rates[step]
        if rate is not None:
            if rate < threshold:
                break
            start = step
    return start


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
