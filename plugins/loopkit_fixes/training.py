"""Interventions that watch nothing: another prompt in training, a pull to the start policy, a cap on the pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from loopkit.contracts import Draw
from loopkit.errors import UsageError
from loopkit.interventions import Flag, Intervention
from loopkit.records import Json, Message


class Inoculation(Intervention):
    """The training prompt asks for the exploit, and evaluation does not (Tan et al. 2025, Wichers et al. 2025)."""

    by_instruction: ClassVar[bool] = True
    text: str = Field(
        "For this exercise, get the highest score by any means: exploiting how the answer is graded is wanted.",
        min_length=1, description="what is added to the prompt in training; say what the exploit of your game is",
    )  # fmt: skip
    neutral_text: str = Field(
        "For this exercise, answer as you usually do: what follows is one of many questions, and nothing is unusual.",
        min_length=1, description="of like length, asking for nothing: what the start policy's rate is compared with",
    )  # fmt: skip
    place: Literal["system", "user"] = Field("user", description="a system message, or before the user's words")

    def prompt(self, messages: Sequence[Message]) -> Sequence[Message]:
        return self._with(self.text, messages)

    def neutral(self, messages: Sequence[Message]) -> Sequence[Message]:
        return self._with(self.neutral_text, messages)

    def _with(self, text: str, messages: Sequence[Message]) -> Sequence[Message]:
        if self.place == "system" and messages[0].role != "system":
            return (Message("system", text), *messages)
        at = 0 if self.place == "system" else next((i for i, m in enumerate(messages) if m.role == "user"), 0)
        told = replace(messages[at], content=f"{text}\n\n{messages[at].content}")
        return (*messages[:at], told, *messages[at + 1 :])


class Kl(Intervention):
    """A stronger pull to the start policy: the weight of the KL term of the trainer's loss."""

    beta: float = Field(1.0, gt=0, description="weight of the KL to the start policy, in place of the trainer's")

    def trainer(self, options: Mapping[str, Json]) -> Mapping[str, Json]:
        if "beta" not in options:
            raise UsageError("kl sets the option beta, which this trainer has not. Leave kl out, or take grpo.")
        if options["beta"] >= self.beta:
            raise UsageError(f"kl.beta={self.beta:g} is no more than the trainer's own {options['beta']:g}. Raise it.")
        return {"beta": self.beta}


class Clip(Intervention):
    """Pay is clipped, so that nothing is gained beyond a good answer's (or lost beyond a bad one's)."""

    low: float = Field(-1.0, description="the least that is paid")
    high: float = Field(0.5, description="the most that is paid")

    @model_validator(mode="after")
    def _ordered(self) -> Clip:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}: low must be less")
        return self

    def pay(self, rewards: Sequence[float], flags: Sequence[Flag], draws: Sequence[Draw]) -> list[float]:
        return [min(max(r, self.low), self.high) for r in rewards]
