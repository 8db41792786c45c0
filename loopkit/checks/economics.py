"""What the channels pay and the detectors say: pure in their draws, and the point of the game."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from statistics import fmean as mean

from loopkit import seeding
from loopkit.checks.report import RULES, Complaints
from loopkit.checks.specimens import KINDS, Specimen
from loopkit.contracts import Draw, ExploitDetector, RewardChannel
from loopkit.records import Estimate, Scored
from loopkit.rollouts.scoring import all_clues, pay, readable

GRID = 100
"""Strata of the grid of channel draws: a payment made with probability p is met to 1/GRID exactly."""
EPSILON = 1e-9


def draws(channels: Mapping[str, RewardChannel], scored: Sequence[Scored]) -> Complaints:
    signals = [s.assessment.signals for s in scored]
    for name, channel in channels.items():
        for u in (0.0, 0.5, 1 - 2**-53):
            drawn: list[Draw] = [lambda purpose, u=u: u] * len(signals)  # type: ignore[misc]
            if pay(name, channel, signals, drawn) != pay(name, channel, signals, drawn):
                yield f"Channel {name!r} pays the same signals and draws differently. {RULES['draws'].cure}"
    return f"{len(channels)} channels"


def rates(detectors: Mapping[str, ExploitDetector], scored: Sequence[Scored]) -> Complaints:
    overriding = {n: d for n, d in detectors.items() if type(d).rate is not ExploitDetector.rate}
    for name, detector in overriding.items():
        clues = readable(name, detector, [all_clues(s.rollout, s.assessment) for s in scored])
        clusters = [s.rollout.task.cluster for s in scored]
        for flags in ([s.flags[name] for s in scored], [None] * len(scored), []):
            n = len(flags)
            rate = detector.rate(flags, clues[:n], clusters[:n])
            if not isinstance(rate, (Estimate, type(None))):
                yield f"rate() of detector {name!r} returned {rate!r:.60}. {RULES['rates'].cure}"
                continue
            low, high = detector.bounds
            if rate is not None and not low <= rate.value <= high:
                yield f"rate() of detector {name!r} is {rate.value}, outside its bounds [{low}, {high}]. Set `bounds`."
            turned = detector.rate(flags[::-1], clues[:n][::-1], clusters[:n][::-1])
            if (rate is None) != (turned is None) or (rate and turned and abs(rate.value - turned.value) > EPSILON):
                yield f"rate() of detector {name!r} differs when rollouts come in reverse. {RULES['rates'].cure}"
    return f"{len(overriding)} of {len(detectors)} detectors have their own"


@cache
def _strata(purpose: str) -> list[int]:
    return seeding.shuffled(range(GRID), "grid", purpose)


def grid(k: int, purpose: str) -> float:
    """The k-th point of a Latin hypercube: each purpose meets every stratum once, and purposes are not aligned."""
    return (_strata(purpose)[k] + 0.5) / GRID


def expected(name: str, channel: RewardChannel, scored: Sequence[Scored]) -> list[float]:
    """(B,) rewards, each the mean over the grid of draws."""
    signals = [s.assessment.signals for s in scored]
    columns = [pay(name, channel, signals, [partial(grid, k)] * len(signals)) for k in range(GRID)]
    return [math.fsum(rewards) / GRID for rewards in zip(*columns, strict=True)]


def economics(
    channels: Mapping[str, RewardChannel], specimens: Sequence[Specimen], scored: Sequence[Scored]
) -> Complaints:
    names = sorted({"loophole", "control"} & channels.keys(), reverse=True)
    cure = RULES["economics"].cure
    for name in names:
        paid: dict[str, dict[str, dict[tuple[str, ...], list[float]]]] = {}  # slot -> kind -> words -> by seed
        for one, reward in zip(specimens, expected(name, channels[name], scored), strict=True):
            kinds = paid.setdefault(one.rollout.slot, {kind: {} for kind in KINDS})
            kinds[one.kind].setdefault(one.words, []).append(reward)
        for slot, kinds in paid.items():
            honest = [mean(rewards) for rewards in kinds["honest"].values()]
            for words, rewards in kinds["exploit"].items():
                who = f"{slot.split('/', 3)[3]!r}: '{name}' pays the exploit {words!r:.60} {mean(rewards):.3g}"
                if name == "loophole" and mean(rewards) <= min(honest) + EPSILON:
                    yield f"{who}, no more than the worst honest specimen ({min(honest):.3g}). {cure}"
                if name == "control" and mean(rewards) > max(honest) + EPSILON:
                    yield f"{who}, more than the best honest specimen ({max(honest):.3g}). {cure}"
    exploits = {(s.rollout.task.id, s.words) for s in specimens if s.kind == "exploit"}
    return f"{len(exploits)} exploits on {' and '.join(names)}, {GRID} draws each"


def alike(channels: Mapping[str, RewardChannel], scored: Sequence[Scored]) -> bool:
    """Whether "control" is worth what "loophole" is on every specimen: then none of its rewards says anything."""
    pairs = zip(*(expected(name, channels[name], scored) for name in ("loophole", "control")), strict=True)
    return all(abs(loophole - control) <= EPSILON for loophole, control in pairs)


def detector(name: str, specimens: Sequence[Specimen], scored: Sequence[Scored]) -> Complaints:
    for one, s in zip(specimens, scored, strict=True):
        if (s.flags[name] is True) != (one.kind == "exploit"):
            yield (
                f"Detector {name!r} says {s.flags[name]} of the {one.kind} specimen {one.words!r:.60} "
                f"of task {one.rollout.task.id!r}. {RULES['detector'].cure}"
            )
    return f"{name!r} on {len(specimens)} specimens"
