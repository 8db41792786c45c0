"""Dose curves: exploit rate against a knob, with the seed as unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loopkit.records import Estimate


@dataclass(frozen=True, slots=True)
class Trend:
    """A monotone trend over doses."""

    p: float
    """Page's test, exact, one-sided in the direction named beforehand."""
    least_p: float
    """The smallest p that so many seeds and doses can give."""
    slope: Estimate
    """Least-squares slope a seed, rate per unit of dose: mean over seeds with its t interval."""
    means: tuple[Estimate, ...]
    """By dose, over seeds."""


def trend(doses: Sequence[float], rates: Sequence[Sequence[float]], direction: Literal["rises", "falls"]) -> Trend:
    """(D,) rising doses and (S, D) rates, one row a seed -> whether rates rise (fall) with the dose.

    Page's L (JASA 1963) ranks within each seed, so seeds may differ and nothing is assumed of the distribution; H0 is
    no dose effect at all, and the direction must be named before looking. The slope assumes no straight line: it is
    the mean change per unit. Raises UsageError of fewer than 3 doses, of unequal rows or doses that do not rise.
    """
    raise NotImplementedError


def crossing(doses: Sequence[float], rates: Sequence[float], level: float = 0.5) -> float | None:
    """Smallest dose at which a seed's (D,) rates cross ``level``, linear between doses; None: they do not (censored).

    Set beside an analytic break-even (self-grading's p*(q)): a policy that responds to incentives alone crosses there.
    """
    raise NotImplementedError
