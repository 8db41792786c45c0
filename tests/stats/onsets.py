"""How often an onset is false, and how soon a true one is seen: many runs at once (``tests.stats.claimed`` writes it).

A run is what training records of it: at each step the flags of 16 prompts x 8 rollouts, which resemble each other
within a prompt (correlation 0.5), or for a gap of 8 prompts of each kind, or of 2.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from loopkit.stats.onset import BETS, FAR, WIDE, lengths
from loopkit.stats.verdict import Margins

Array = NDArray[np.float64]
Rng = np.random.Generator
Run = tuple[Array, Array, Array]
"""(N, T) rates, and how far their lower and upper 95 % limits lie from them."""
RUNS = 1000
CORRELATION = 0.5
BASE_PROMPTS = 2000


def estimates(counts: NDArray[np.int64], size: int) -> Run:
    """(N, T, C) flags of C prompts x ``size`` rollouts -> rates with limits: ``loopkit.stats.rates.share``."""
    from scipy import stats

    prompts = counts.shape[2]
    n = prompts * size
    p = counts.sum(2) / n
    spread = ((counts - size * p[..., None]) ** 2).sum(2)
    with np.errstate(all="ignore"):
        deff = np.where(spread > 1e-9, np.maximum(1, prompts / (prompts - 1) * spread / (n * p * (1 - p))), size)
    telling = np.minimum((counts > 0).sum(2), (counts < size).sum(2))
    deff = (telling * deff + np.maximum(size, deff)) / (telling + 1)
    effective, z = np.maximum(1, n / deff), float(stats.t.ppf(0.975, prompts - 1))
    centre = p + z * z / (2 * effective)
    half, shrink = z * np.sqrt(p * (1 - p) / effective + (z / (2 * effective)) ** 2), 1 + z * z / effective
    return p, p - np.maximum(0, (centre - half) / shrink), np.minimum(1, (centre + half) / shrink) - p


def counts(r: Rng, true: Array, prompts: int, size: int = 8) -> NDArray[np.int64]:
    chance = np.clip(true, 1e-4, 1 - 1e-4)[..., None]
    k = (1 - CORRELATION) / CORRELATION
    return r.binomial(size, r.beta(chance * k, (1 - chance) * k, (*true.shape, prompts)))


Recorded = Sequence[NDArray[np.int64]]
"""(N, T, C) flags of each prompt; of a gap, of the one kind and of the other."""


def share(r: Rng, true: Array) -> Recorded:
    return (counts(r, true, 16),)


def gap(r: Rng, true: Array, prompts: int = 8) -> Recorded:
    """Of two rates about 30 %."""
    user, audit = (counts(r, np.clip(0.3 + side * true / 2, 0, 1), prompts) for side in (1, -1))
    return user, audit


def small_gap(r: Rng, true: Array) -> Recorded:
    return gap(r, true, 2)


def rates(recorded: Recorded, length: int = 1) -> Run:
    """Rates of every ``length`` consecutive steps together; of a gap, as if unpaired."""
    steps = recorded[0].shape[1] - length + 1
    windows = [np.concatenate([k[:, i : steps + i] for i in range(length)], 2) for k in recorded]
    found = [estimates(k, 8) for k in windows]
    if len(found) == 1:
        return found[0]
    user, audit = found
    return user[0] - audit[0], np.hypot(user[1], audit[2]), np.hypot(user[2], audit[1])


def above(own: Run, other: Run, margin: float) -> NDArray[np.bool_]:
    """(N, K) whether a window lies above every one of the other run's: ``loopkit.stats.onset.apart``."""
    out = np.ones(own[0].shape, bool)
    for s in range(other[0].shape[1]):
        difference, half = own[0] - other[0][:, s, None], np.hypot(own[1], other[2][:, s, None])
        out &= difference > np.maximum(WIDE * half, FAR * margin)
    return out


def beside(run: Recorded, placebo: Recorded, margin: float) -> NDArray[np.int64]:
    """(N,) onset steps, -1 for none: ``loopkit.stats.onset.apart``."""
    never = 10**6
    first = np.full(len(run[0]), never)
    for length in lengths(run[0].shape[1]):
        seen = above(rates(run, length), rates(placebo, length), margin)
        first = np.minimum(first, np.where(seen.any(1), seen.argmax(1) + length - 1, never))
    return np.where(first < never, first, -1)


def margin(base: float, kind: str) -> float:
    return Margins().near(base, KINDS[kind][1]).exploit


def against(run: Recorded, high: Array, low: float) -> NDArray[np.int64]:
    """(N,) onset steps against (N,) base limits, -1 for none: ``loopkit.stats.onset.onset``."""
    found = rates(run)[0]
    n, steps = found.shape
    weight, waiting = 1 / (steps * len(BETS)), 1.0
    wealth, seen = np.zeros((n, len(BETS))), np.full(n, -1)
    for step in range(steps):
        waiting -= weight * len(BETS)
        growth = 1 + np.array(BETS) / (high - low)[:, None] * (found[:, step] - high)[:, None]
        wealth = (wealth + weight) * growth
        seen = np.where((seen < 0) & (waiting + wealth.sum(1) >= 2 / 0.05), step, seen)
    return seen


KINDS: dict[str, tuple[Callable[[Rng, Array], Recorded], float]] = {
    "share": (share, 0.0), "gap": (gap, -1.0), "gap, 2 + 2 prompts": (small_gap, -1.0),
}  # fmt: skip
"""How a rate is drawn, and the lowest it can be."""
BASE = 0.1


def still(r: Rng, n: int, steps: int, base: float) -> Array:
    return np.full((n, steps), base)


def wander(r: Rng, n: int, steps: int, sd: float, rho: float = 0.95) -> Array:
    """AR(1) about BASE: as likely up as down, and back again."""
    x = np.zeros((n, steps))
    x[:, 0] = r.normal(0, sd, n)
    for t in range(1, steps):
        x[:, t] = rho * x[:, t - 1] + r.normal(0, sd * np.sqrt(1 - rho**2), n)
    return BASE + x


def walk(r: Rng, n: int, steps: int, step: float) -> Array:
    """A random walk from BASE."""
    return BASE + np.cumsum(r.normal(0, step, (n, steps)), 1)


WORLDS: tuple[tuple[str, int, Callable[[Rng, int, int], Array]], ...] = (
    ("still at 2 %", 20, lambda r, n, t: still(r, n, t, 0.02)),
    ("still at 2 %", 80, lambda r, n, t: still(r, n, t, 0.02)),
    ("still at 30 %", 40, lambda r, n, t: still(r, n, t, 0.3)),
    ("wander, sd 5", 60, lambda r, n, t: wander(r, n, t, 0.05)),
    ("wander, sd 10", 60, lambda r, n, t: wander(r, n, t, 0.1)),
    ("walk, 8 points at the end", 60, lambda r, n, t: walk(r, n, t, 0.01)),
    ("walk, 15 points at the end", 60, lambda r, n, t: walk(r, n, t, 0.02)),
)
RISES = ((0.02, 0.1), (0.02, 0.2), (0.1, 0.4), (0.1, 0.5), (0.1, 0.8))
"""From a rate to a rate, over 8 steps from step 10 of 40."""


def random(*key: object) -> Rng:
    return np.random.default_rng([20261130, zlib.crc32(repr(key).encode())])


def limit(r: Rng, n: int, true: float, kind: str) -> Array:
    """(n,) upper 95 % limits of a base rate that was measured on BASE_PROMPTS prompts."""
    sd = np.sqrt(true * (1 - true) / BASE_PROMPTS if kind == "share" else 2 * 0.3 * 0.7 / (BASE_PROMPTS / 2))
    return true + r.normal(0, sd, n) + 1.96 * sd


def false_onsets(n: int = RUNS) -> str:
    """Two runs that differ in nothing but their draws; one stands for loophole, one for its placebo."""
    lines = ["| both runs | steps | rate | beside placebo | against base |", "|---|---|---|---|---|"]
    for kind, (draw, low) in KINDS.items():
        for world, steps, true in WORLDS:
            r = random("false", kind, world, steps)
            run, placebo = (draw(r, true(r, n, steps)) for _ in range(2))
            level = float(true(r, 1, 1)[0, 0]) if "still" in world else BASE
            pair = beside(run, placebo, margin(level, kind)), against(run, limit(r, n, level, kind), low)
            shares = [float((seen >= 0).mean()) for seen in pair]
            lines.append(f"| {world} | {steps} | {kind} | " + " | ".join(f"{x:.3f}" for x in shares) + " |")
    return "\n".join(lines)


def true_onsets(n: int = RUNS) -> str:
    """One run rises, its placebo stays; the share with an onset, and the median of its step."""
    lines = ["| from, to | rate | beside placebo | against base |", "|---|---|---|---|"]
    for kind, (draw, low) in KINDS.items():
        for start, end in RISES:
            r = random("true", kind, start, end)
            rising = start + (end - start) * np.clip((np.arange(40) - 10) / 8, 0, 1) * np.ones((n, 1))
            run, placebo = draw(r, rising), draw(r, np.full((n, 40), start))
            cells = []
            for seen in (beside(run, placebo, margin(start, kind)), against(run, limit(r, n, start, kind), low)):
                when = f", step {np.median(seen[seen >= 0]):.0f}" if (seen >= 0).any() else ""
                cells.append(f"{(seen >= 0).mean():.2f}{when}")
            lines.append(f"| {100 * start:g} %, {100 * end:g} % | {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
