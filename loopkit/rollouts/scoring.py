"""Rollouts -> assessments -> rewards and flags. The one place where signals meet channels and clues meet detectors.

Whatever a game, channel or detector returns is held to what it declared; a NaN or a missing key is an error that
names who is at fault, never a reward of 0.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from loopkit import seeding
from loopkit.contracts import CORE_CLUES as CORE_CLUES
from loopkit.contracts import Draw, ExploitDetector, Game, RewardChannel
from loopkit.errors import ContractError, LoopkitError, PluginError, RunError
from loopkit.interventions import Flag, Intervention
from loopkit.interventions import kept as kept_by
from loopkit.interventions import paid as paid_by
from loopkit.records import Assessment, Done, Json, Message, Rollout, Scored, Turn
from loopkit.rollouts.thoughts import parted
from loopkit.system.notices import asking, notice, some

PAID = "paid"
TRIES = 3
"""How often a referee asks a game, channel or detector that raises."""
PAUSE = 1.0
"""Seconds before the second try; doubled before each further one."""
T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """A game ready to be played: the game, the paid channel, shadow channels and detectors, by name."""

    game: Game
    paid: RewardChannel
    shadow: Mapping[str, RewardChannel]
    detectors: Mapping[str, ExploitDetector]
    interventions: Mapping[str, Intervention] = field(default_factory=dict)
    """What the arm does besides paying its channel, by name, in the order in which it is done."""

    @property
    def headline(self) -> str:
        """The detector of the headline exploit rate."""
        return next(iter(self.detectors))

    @property
    def onset(self) -> str:
        """The detector that onset and domination use."""
        return self.game.reporting.onset_detector or self.headline


def ask(who: str, rollouts: Sequence[Rollout], call: Callable[[], T], tries: int) -> T:
    """``call()``, tried again where a game, or a judge behind it, raises. One try raises what it raised.

    Raises RunError when no try succeeded; what loopkit raises itself (a broken promise) is not tried again.
    """
    ids = [r.id for r in rollouts]
    for attempt in itertools.count(1):
        try:
            with asking(who, ids):
                return call()
        except Exception as error:
            plugin = isinstance(error, PluginError)  # a third party's part raised, and its distribution is named
            if tries == 1 or (isinstance(error, LoopkitError) and not plugin) or (plugin and attempt == tries):
                raise
            why = f"{type(error).__name__}: {error}"
            if attempt == tries:
                raise RunError(
                    f"{who} raised {why}, {tries} times in a row, of {some(ids)}. "
                    "Nothing was paid. Mend it, and run the same command to resume."
                ) from error
            notice("asked again", who=who, why=why, attempt=attempt, rollouts=some(ids))
            time.sleep(PAUSE * 2 ** (attempt - 1))
    raise AssertionError("not reached")


def advance(game: Game, rollouts: Sequence[Rollout], turns: Sequence[Turn], tries: int = 1) -> list[Rollout]:
    """(B,) unfinished rollouts and the turn just said in each -> (B,) rollouts with that turn and the game's reply.

    The one place where ``Game.reply`` is called; the thoughts of a turn are parted from its answer before. Raises
    ContractError, naming the game, for a reply that is neither Message nor Done, or too few of them. ``tries``: see
    ``ask``.
    """
    if not rollouts:
        return []
    waiting = [replace(r, steps=(*r.steps, (parted(turn), Done()))) for r, turn in zip(rollouts, turns, strict=True)]
    who = f"game {type(game).__name__}: reply()"
    answers = ask(who, waiting, lambda: game.reply(waiting), tries)
    if not isinstance(answers, (list, tuple)) or len(answers) != len(waiting):
        got = len(answers) if isinstance(answers, (list, tuple)) else repr(answers)[:60]
        raise ContractError(
            f"{who} got {len(waiting)} rollouts and returned {got}. Return a list with an answer for each."
        )
    for rollout, answer in zip(waiting, answers, strict=True):
        if not isinstance(answer, (Message, Done)):
            raise ContractError(
                f"{who} answered {rollout.id!r} with {answer!r:.60}. Return Done() to end a rollout, or a Message."
            )
    return [
        replace(r, steps=(*r.steps[:-1], (r.steps[-1][0], answer))) for r, answer in zip(waiting, answers, strict=True)
    ]


def score(setup: Setup, rollouts: Sequence[Rollout], occurrences: Sequence[int], tries: int = 1) -> list[Scored]:
    """(B,) finished rollouts and their occurrence counts -> (B,) scored. Raises ContractError on a broken promise.

    ``tries``: how often a part that raises is asked, see ``ask``.
    """
    if not rollouts:
        return []
    assessments = ask(
        f"game {type(setup.game).__name__}: assess()", rollouts, lambda: assess(setup.game, rollouts), tries
    )
    draws = [channel_draw(r, k) for r, k in zip(rollouts, occurrences, strict=True)]
    signals = [a.signals for a in assessments]
    columns = {
        name: ask(f"channel {name!r}: rewards()", rollouts, partial(pay, name, channel, signals, draws), tries)
        for name, channel in {PAID: setup.paid, **setup.shadow}.items()
    }
    clues = [all_clues(r, a) for r, a in zip(rollouts, assessments, strict=True)]
    flags = {
        name: ask(f"detector {name!r}: flags()", rollouts, partial(flag, name, detector, clues), tries)
        for name, detector in setup.detectors.items()
    }
    for name, one in setup.interventions.items():
        watched = flags[one.watched] if one.watched else [None] * len(rollouts)
        columns[PAID] = _intervened(name, one, columns[PAID], watched, draws)
    return [
        Scored(
            rollout,
            occurrences[i],
            assessments[i],
            {name: column[i] for name, column in columns.items()},
            {name: column[i] for name, column in flags.items()},
        )
        for i, rollout in enumerate(rollouts)
    ]


def _intervened(
    name: str, one: Intervention, rewards: Sequence[float], flags: Sequence[Flag], draws: Sequence[Draw]
) -> list[float]:
    """What an intervention makes of (B,) rewards: finite numbers."""
    out = paid_by(name, one, rewards, flags, draws)
    for reward in out:
        _in_range(f"intervention {name!r}: reward", reward, -sys.float_info.max, sys.float_info.max)
    return out


def kept(setup: Setup, scored: Sequence[Scored]) -> list[bool]:
    """(B,) whether a trainer learns from each rollout: unless an intervention of the arm drops it."""
    out = [True] * len(scored)
    for name, one in setup.interventions.items():
        if "keep" in one.changes():
            flags = [s.flags[one.watched] if one.watched else None for s in scored]
            draws = [channel_draw(s.rollout, s.occurrence) for s in scored]
            out = [a and b for a, b in zip(out, kept_by(name, one, flags, draws), strict=True)]
    return out


def channel_draw(rollout: Rollout, occurrence: int) -> Draw:
    """A channel's draw: keyed by (seed, slot, all said, occurrence, purpose), not by arm, name or arrival."""
    return partial(seeding.uniform, rollout.seed, rollout.slot, list(rollout.said), occurrence)


def all_clues(rollout: Rollout, assessment: Assessment) -> dict[str, Json]:
    """The game's clues and the core's: what was asked, what was answered, and what was thought before it."""
    prompts = [m.content for m in rollout.task.messages]
    core = {"asked": prompts, "said": list(rollout.words), "thoughts": list(rollout.thoughts)}
    return {**assessment.clues, **core}


def assess(game: Game, rollouts: Sequence[Rollout]) -> list[Assessment]:
    """``game.assess``, held to what the game declares."""
    assessments = game.assess(rollouts)
    who = f"game {type(game).__name__}"
    if len(assessments) != len(rollouts):
        raise ContractError(
            f"{who}: assess() got {len(rollouts)} rollouts and returned {len(assessments)} assessments."
        )
    for rollout, one in zip(rollouts, assessments, strict=True):
        _same_keys(f"{who}: signals of {rollout.id!r}", one.signals, game.signals)
        _same_keys(f"{who}: clues of {rollout.id!r}", one.clues, game.clues)
        for name, value in one.signals.items():
            _in_range(f"{who}: signal {name!r} of {rollout.id!r}", value, *game.signals[name])
        for key in ("task", "observed"):
            if key not in one.scores:
                raise ContractError(f"{who}: scores of {rollout.id!r} lack {key!r}. Add it (observed may be None).")
        for name, score_ in one.scores.items():
            if score_ is not None:
                _in_range(f"{who}: score {name!r} of {rollout.id!r}", score_, 0.0, 1.0)
    return assessments


def pay(
    name: str, channel: RewardChannel, signals: Sequence[Mapping[str, float]], draws: Sequence[Draw]
) -> list[float]:
    """A channel's rewards over the signals it may read, held to its range."""
    who = f"channel {name!r} ({type(channel).__module__}.{type(channel).__name__})"
    seen = [_only(who, "signal", s, channel.reads) for s in signals]
    rewards = channel.rewards(seen, draws)
    if len(rewards) != len(seen):
        raise ContractError(f"{who}: rewards() got {len(seen)} rollouts and returned {len(rewards)}.")
    for reward in rewards:
        _in_range(f"{who}: reward", reward, *channel.range)
    return [float(r) for r in rewards]


def flag(name: str, detector: ExploitDetector, clues: Sequence[Mapping[str, Json]]) -> list[bool | None]:
    """A detector's flags over the clues it may read."""
    who = f"detector {name!r} ({type(detector).__module__}.{type(detector).__name__})"
    flags = detector.flags(readable(name, detector, clues))
    if len(flags) != len(clues) or not all(f is None or isinstance(f, bool) for f in flags):
        raise ContractError(f"{who}: flags() must return {len(clues)} values of True, False or None (abstains).")
    return flags


def readable(name: str, detector: ExploitDetector, clues: Sequence[Mapping[str, Json]]) -> list[dict[str, Json]]:
    """The clues cut down to what the detector declares it reads."""
    return [_only(f"detector {name!r}", "clue", c, detector.reads) for c in clues]


def _only(who: str, kind: str, values: Mapping[str, Any], reads: frozenset[str]) -> dict[str, Any]:
    if unknown := reads - values.keys():
        raise ContractError(
            f"{who} reads {kind}s the game does not have: {', '.join(sorted(unknown))}. "
            f"Those it has: {', '.join(sorted(values))}."
        )
    return {name: values[name] for name in values if name in reads}


def _same_keys(who: str, values: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    if values.keys() != declared.keys():
        missing, extra = sorted(declared.keys() - values.keys()), sorted(values.keys() - declared.keys())
        raise ContractError(f"{who} are not as declared: missing {missing}, undeclared {extra}. Declare what is set.")


def _in_range(who: str, value: float, low: float, high: float) -> None:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:
        raise ContractError(
            f"{who} is {value!r}, which is not a finite number in [{low}, {high}]. "
            "Nothing was paid; mend it (or widen the declared range) and run the same command to resume."
        )
