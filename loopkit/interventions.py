"""What is done about a loophole other than paying another channel: an intervention, composable with game and trainer.

An arm is a channel and any number of interventions: ``loophole+penalty``. Each changes one or more of five things, and
leaves the rest alone: what a rollout is paid, which rollouts are learned from, what the training prompt says, the
trainer's options, and when to stop. Evaluation is never changed, so that arms are compared on the same prompts.

A monitor is the one exception to "what pays never reads what detects": it is declared (``watched``) and recorded, its
own rate is shown apart, and the exploit rate is another detector's.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from loopkit.contracts import Draw
from loopkit.errors import ContractError
from loopkit.records import Json, Message

Change = Literal["pay", "keep", "prompt", "trainer", "stop"]
CHANGES: tuple[Change, ...] = ("pay", "keep", "prompt", "trainer", "stop")
Flag = bool | None
"""Of the watched detector; None abstains, or there is none that is watched."""
WORDS = "words"
"""The monitor where none is named: a detector fitted on the game's own scripts, which reads words only."""


class Intervention(BaseModel, ABC):
    """Its pydantic fields are its options; each method changes nothing until it is overridden.

    What is changed is read off the class: the methods that it overrides (``changes``). Batched methods take (B,) and
    return (B,) in the same order, and the result for one rollout does not depend on its batchmates.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    by_instruction: ClassVar[bool] = False
    """Whether it can only work on a policy that follows what its prompt adds: then the start policy's exploit rate is
    measured before training, with ``prompt`` and with ``neutral``, and where the one is not above the other nothing is
    claimed ("not applicable")."""

    @property
    def watched(self) -> str:
        """The detector whose flags it is given; empty: none."""
        return ""

    @classmethod
    def changes(cls) -> frozenset[Change]:
        """What it changes: the methods that the class overrides."""
        return frozenset(c for c in CHANGES if getattr(cls, c) is not getattr(Intervention, c))

    def pay(self, rewards: Sequence[float], flags: Sequence[Flag], draws: Sequence[Draw]) -> list[float]:
        """(B,) what the channel pays, flags and draws -> (B,) finite rewards."""
        return list(rewards)

    def keep(self, flags: Sequence[Flag], draws: Sequence[Draw]) -> list[bool]:
        """(B,) flags and draws -> (B,) whether the trainer learns from the rollout."""
        return [True] * len(flags)

    def prompt(self, messages: Sequence[Message]) -> Sequence[Message]:
        """A dialogue's opening messages -> as they are in training. Pure in the messages."""
        return messages

    def neutral(self, messages: Sequence[Message]) -> Sequence[Message]:
        """As ``prompt``, with words that ask for nothing: a policy may change because anything was added at all."""
        return messages

    def trainer(self, options: Mapping[str, Json]) -> Mapping[str, Json]:
        """The trainer's options -> those that change. Raise UsageError where it cannot be done by this trainer."""
        return {}

    def stop(self, rates: Sequence[float | None]) -> bool:
        """(T,) the watched detector's rate in each step so far (None: not measured) -> whether to end training."""
        return False


class Monitor(Intervention):
    """An intervention that watches a detector. Subclasses act on its flags."""

    monitor: str = Field(WORDS, description="the detector that is watched; words: fitted on the game's own scripts")
    oracle: bool = Field(
        False, description="let the detector of the exploit rate itself be the monitor: a bound, which no operator has"
    )
    accuracy: float = Field(1.0, gt=0.5, le=1, description="share of the monitor's flags that stay; others are turned")

    @property
    def watched(self) -> str:
        return self.monitor

    def decisions(self, flags: Sequence[Flag], draws: Sequence[Draw]) -> list[bool]:
        """(B,) whether each rollout counts as flagged: not where it abstains; ``accuracy`` turns some by their draw."""
        return [
            bool(flag) if flag is None or draw("monitor") < self.accuracy else not flag
            for flag, draw in zip(flags, draws, strict=True)
        ]


def paid(
    name: str, one: Intervention, rewards: Sequence[float], flags: Sequence[Flag], draws: Sequence[Draw]
) -> list[float]:
    """What an intervention makes of (B,) rewards; ContractError names one that returns another number of them."""
    out = one.pay(rewards, flags, draws)
    return [float(r) for r in _as_many(f"intervention {name!r}: pay()", out, len(rewards))]


def kept(name: str, one: Intervention, flags: Sequence[Flag], draws: Sequence[Draw]) -> list[bool]:
    """Which of (B,) rollouts an intervention keeps; ContractError as in ``paid``."""
    return [bool(k) for k in _as_many(f"intervention {name!r}: keep()", one.keep(flags, draws), len(flags))]


def _as_many(who: str, out: Sequence[float], n: int) -> Sequence[float]:
    if not isinstance(out, (list, tuple)) or len(out) != n:
        got = len(out) if isinstance(out, (list, tuple)) else repr(out)[:60]
        raise ContractError(f"{who} got {n} rollouts and returned {got}. Return a list with a value for each.")
    return out
