"""Does an exploit learnt by RL last longer under correction than the same exploit taught by SFT?

The SFT student is made from the RL policy's own rollouts and the same base. The two are compared seed by seed, and
only where they match at the start: within 0.03 on one split, while every outcome is measured on another (so that
matching on a lucky sample is no outcome).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loopkit.records import Estimate
from loopkit.stats.contrasts import Contrast

MATCH = 0.03
MARGIN = 0.1


def matched(rl: float, sft: float) -> bool:
    """Whether two exploit rates of the matching split agree within 0.03."""
    return abs(rl - sft) <= MATCH + 1e-12


@dataclass(frozen=True, slots=True)
class Pair:
    """One seed's RL policy and its SFT student. Rates are exploit rates; curves (T,) are of the measuring split."""

    rl_match: float
    sft_match: float
    rl_correction: Sequence[float]
    """Step by step under correction; the first is the start."""
    sft_correction: Sequence[float]
    rl_relapse: Sequence[float] = ()
    """Then retrained on `loophole`; empty where it was not."""
    sft_relapse: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Persistence:
    """What the matched pairs show."""

    name: Literal["persists more", "persists less", "as persistent", "inconclusive", "no match"]
    p: float | None
    pairs: int
    matched: int
    start: Contrast | None
    """RL minus SFT at the start, measuring split: should be near 0."""
    decay: Contrast | None
    """RL minus SFT of the mean exploit rate over the correction (its area): positive persists more."""
    half_life: Mapping[str, float]
    """By "rl" and "sft": restricted mean of the step at which half the start rate is left."""
    relapse: Contrast | None
    """RL minus SFT of the mean exploit rate over the retraining: positive relapses faster."""
    reason: str = ""

    def sentence(self) -> str:
        """One plain sentence that claims what was tested, and no more."""
        raise NotImplementedError


def persistence(pairs: Sequence[Pair]) -> Persistence:
    """(S,) pairs -> a verdict from the matched ones; "no match" where fewer than two match: no match, no verdict.

    Areas under equally long curves, because they need no censoring and no model of the decay; paired t over seeds at
    0.05, two-sided; "as persistent" is shown within 0.1 by two one-sided tests (Schuirmann 1987). Leaving unmatched
    pairs out is fair, as it looks at the matching split before correction only. Raises UsageError of unequal curves.
    """
    raise NotImplementedError


def half_life(curve: Sequence[float]) -> int | None:
    """First step of a (T,) curve from which on at most half its first rate is left; None is censored."""
    raise NotImplementedError
