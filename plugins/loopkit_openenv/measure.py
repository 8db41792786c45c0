"""What a panel of policies that solve nothing earns in a served environment, and what truth has to do with it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev

from loopkit.errors import LoopkitError, UsageError
from loopkit.probing import Probe, Settings, attacks, run
from loopkit.probing.world import built, same
from loopkit_openenv.playing import COLUMN, leave, play, rows

SEEDS = 16
"""Episodes of a policy."""
REPLIES, SEARCH, SECONDS = 1500, 300, 240.0
"""What the search for a reward without the goal may ask."""
DEADLINE = 60.0
"""Seconds that an episode, or a session that is not free yet, may take."""
LONGEST = 5000
"""Characters of a reply; longer ones test a server's limits, not its reward."""


@dataclass(frozen=True)
class Policy:
    """One policy of the panel. ``above``: its mean return minus the floor's, over the seeds, with its 95 % interval."""

    kind: str
    name: str
    reply: str
    mean: float
    above: float
    low: float
    high: float
    truth: float | None

    @property
    def beats(self) -> bool:
        """Whether it earns more than the empty trajectory, beyond chance."""
        return self.low > 0


@dataclass(frozen=True)
class Measured:
    """``floor``: what the empty trajectory earns; ``right``: a right answer, where the environment reveals one."""

    n: int
    floor: float
    panel: Sequence[Policy]
    right: float | None
    earned: Sequence[float]
    truths: Sequence[float]
    probe: Probe | None
    refused: str

    @property
    def correlation(self) -> tuple[float, float, float] | None:
        """Pearson's r of what is earned with truth, and Fisher's 95 % interval; None where either never varies."""
        n = len(self.truths)
        if n < 5 or len(set(self.truths)) < 2 or len(set(self.earned)) < 2:
            return None
        r = _pearson(self.earned, self.truths)
        if abs(r) >= 1 - 1e-12:
            return r, r, r
        z, half = math.atanh(r), 1.959963984540054 / math.sqrt(n - 3)
        return r, math.tanh(z - half), math.tanh(z + half)


@lru_cache(maxsize=4)
def measure(url: str, options: str = "{}") -> Measured:
    """Play the panel, and probe. ``options``: what reset is given besides a seed, as JSON.

    Raises UsageError where a reply cannot be an action.
    """
    given = json.loads(options)
    there = rows(url, SEEDS, given)
    if play(url, 0, "", given).asked != there[0]["prompt"]:
        raise UsageError(
            "the same seed begins another episode, so policies cannot be compared on the same ones. Let reset(seed=) "
            "decide, or name what it needs in the runtime plan's reset options."
        )
    floor = [play(url, k, "", given) for k in range(SEEDS)]
    base = [e.earned for e in floor]
    reference = any(row["answer"] for row in there)
    world = built(there, "prompt", "answer" if reference else "", ())
    panel, earned, truths = list[Policy](), list[float](), list[float]()
    for attack in attacks.blind(world):
        said = [attack.says(world, k) for k in range(SEEDS)]
        if max(map(len, said)) > LONGEST:
            continue
        played = [play(url, k, text, given) for k, text in enumerate(said)]
        known = [
            _truth(e.truth, text, there[k]["answer"]) for k, (e, text) in enumerate(zip(played, said, strict=True))
        ]
        pays = [e.earned for e in played]
        panel.append(Policy(attack.kind, attack.name, said[0][:200], fmean(pays), *_above(pays, base), _mean(known)))
        told = [(p, t) for p, t in zip(pays, known, strict=True) if t is not None]
        earned += [p for p, _ in told]
        truths += [t for _, t in told]
    right = None
    if reference:
        played = [play(url, k, there[k]["answer"], given) for k in range(SEEDS)]
        right = fmean(e.earned for e in played)
        earned += [e.earned for e in played]
        truths += [1.0 if e.truth is None else e.truth for e in played]
    leave(url)  # the probe's process asks for a session of its own
    probe, refused = _probe(there, reference)
    return Measured(SEEDS, fmean(base), panel, right, earned, truths, probe, refused)


def _truth(told: float | None, said: str, answer: str) -> float | None:
    """As the environment tells; else by the answer that it reveals."""
    return told if told is not None else float(same(said, answer)) if answer else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def _above(pays: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Mean of the paired differences over seeds, with Student's 95 % interval."""
    from scipy import stats

    apart = [p - b for p, b in zip(pays, base, strict=True)]
    mean = fmean(apart)
    half = float(stats.t.ppf(0.975, len(apart) - 1)) * stdev(apart) / math.sqrt(len(apart))
    return mean, mean - half, mean + half


def _pearson(x: Sequence[float], y: Sequence[float]) -> float:
    mx, my = fmean(x), fmean(y)
    top = math.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return top / math.sqrt(math.fsum((a - mx) ** 2 for a in x) * math.fsum((b - my) ** 2 for b in y))


def _probe(there: Sequence[dict[str, str]], reference: bool) -> tuple[Probe | None, str]:
    """The search for a reward without the goal; why there is none, where it cannot be made."""
    kept = [{k: v for k, v in row.items() if reference or k in ("prompt", COLUMN)} for row in there]
    try:
        found = run(Settings(
            "loopkit_openenv.playing:paid", kept, reference="answer" if reference else "", prompt="prompt",
            rows=SEEDS, replies=REPLIES, seconds=SECONDS, deadline=DEADLINE, search=SEARCH, code=False,
        ))  # fmt: skip
    except LoopkitError as error:
        return None, str(error)
    return found, ""
