"""Before a run: how many seeds and prompts show a difference, by the tests of ``stats.claims``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

from loopkit.errors import UsageError
from loopkit.stats.claims import ALPHA, most

SEEDS = (5, 6, 7, 8, 10, 12, 15, 20, 30)
PROMPTS = (200, 500, 1000, 2000, 5000)
DRAWS = 20_000
RNG_SEED = 20261130


@dataclass(frozen=True)
class Assumed:
    """What a plan takes for true, in shares."""

    difference: float
    """Of the two arms' rates, over seeds."""
    spread: float
    """Standard deviation of that difference over seeds, without the noise of evaluation."""
    margin: float
    """The difference must be shown to lie above it."""
    rates: tuple[float, float]
    """Of the two arms: what the noise of evaluation depends on."""

    def noise(self, prompts: int) -> float:
        """Standard deviation that evaluating each arm on so many prompts adds, one rollout a prompt."""
        return sqrt(sum(p * (1 - p) for p in self.rates) / prompts)


def power(assumed: Assumed, seeds: int, prompts: int) -> float:
    """The chance that one test claims the difference: the t test and the sign test both, of normal seeds.

    Simulated with DRAWS experiments, always the same. 0 below 5 seeds, where nothing is tested.
    """
    import numpy as np
    from scipy import stats

    if most(seeds, seeds) > ALPHA:
        return 0.0
    sd = sqrt(assumed.spread**2 + assumed.noise(prompts) ** 2)
    beyond = assumed.difference - assumed.margin
    x = beyond + sd * np.random.default_rng(RNG_SEED).normal(size=(DRAWS, seeds))
    if sd == 0:
        return float(beyond > 0)
    t = x.mean(1) / (x.std(1, ddof=1) / sqrt(seeds))
    signs = np.array([most(k, seeds) for k in range(seeds + 1)])[(x > 0).sum(1)]
    return float(((t >= stats.t.ppf(1 - ALPHA, seeds - 1)) & (signs <= ALPHA)).mean())


def fewest(assumed: Assumed, prompts: int, least: float = 0.8) -> int | None:
    """The fewest of SEEDS with at least this power; None: more than 30, or no number of them.

    Where half of the seeds or more lie below the margin no number does: what is claimed is then not so of most.
    """
    return next((s for s in SEEDS if power(assumed, s, prompts) >= least), None)


def earlier(
    loophole: Sequence[float], other: Sequence[float], prompts: int, margin: float, difference: float | None = None
) -> Assumed:
    """What (S,) rates of two arms, paired by seed, say: the noise of ``prompts`` is taken off the spread they show.

    ``difference``: what is planned for, where it is not the one they showed. Raises UsageError below 3 seeds.
    """
    if len(loophole) != len(other) or len(loophole) < 3:
        raise UsageError(
            f"{min(len(loophole), len(other))} seeds tell no spread: give runs of 3 seeds at least, or --spread."
        )
    differences = [a - b for a, b in zip(loophole, other, strict=True)]
    rates = (min(1.0, max(0.0, fmean(loophole))), min(1.0, max(0.0, fmean(other))))
    seen = Assumed(fmean(differences) if difference is None else difference, 0.0, margin, rates)
    spread = sqrt(max(0.0, variance(differences) - seen.noise(prompts) ** 2))
    return Assumed(seen.difference, spread, margin, rates)
