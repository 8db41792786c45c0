"""Runs made elsewhere, as a game that nobody plays: its tasks are prompts that were logged, its pay what was logged.

What an exploit is, the user says: by labels, or by a trusted reward. A rollout exploits that is paid and that the
trusted reward does not pass (``disagreement``), or that a reader labelled (``labelled``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field, model_validator

from loopkit.contracts import Draw, ExploitDetector, Game, Options, Policy, Range, Reporting, RewardChannel, Split
from loopkit.errors import UsageError
from loopkit.parts.channels import pay
from loopkit.parts.detectors import rule
from loopkit.parts.generic import GENERIC
from loopkit.records import Assessment, Rollout, Task, Transcript

NAME = "elsewhere"
DISAGREES, LABELLED = "disagreement", "labelled"


class Criteria(Options):
    """What says whether a rollout was paid, and whether it exploited."""

    reward: str = Field("", description="the reward in question: a column of the logs, or FILE.py:FUNCTION")
    trusted: str = Field("", description="a reward that is trusted: a column, or FILE.py:FUNCTION")
    label: str = Field("", description="column of a reader's labels, COLUMN or COLUMN=VALUE")
    reward_range: tuple[float, float] = Field((0.0, 1.0), strict=False, description="least and most that it pays")
    trusted_range: tuple[float, float] = Field((0.0, 1.0), strict=False, description="the same of the trusted one")
    passes: float = Field(0.5, ge=0, le=1, description="share of its range from which a reward passes a rollout")
    code: dict[str, str] = Field(default_factory=dict, description="hashes of the functions' code")

    @model_validator(mode="after")
    def _ordered(self) -> Criteria:
        for name, (low, high) in (("reward_range", self.reward_range), ("trusted_range", self.trusted_range)):
            if not low < high:
                raise ValueError(f"{name} is {low:g}, {high:g} (write two numbers, the lower first)")
        return self

    @property
    def exploit(self) -> str:
        """The detector of the exploit rate; "" where nothing says what an exploit is."""
        return LABELLED if self.label else DISAGREES if self.trusted else ""


class Elsewhere(Game):
    """What was logged. It has no tasks before a log was read, and scores nothing anew."""

    version = 1
    axis = "specification"
    Options = Criteria
    options: Criteria
    reporting = Reporting(observed_is_paid=True)
    clues: Mapping[str, str] = {
        "reference": "the row's reference answers, None where it has none",
        "disagrees": "whether the reward passes what the trusted reward does not, None where either is not known",
        "labelled": "what the reader's label says, None where there is none",
    }

    def __init__(self, options: BaseModel | None = None, judges: Mapping[str, Policy] | None = None) -> None:
        super().__init__(options, judges)
        self.signals: dict[str, Range] = {"reward": self.options.reward_range, "trusted": self.options.trusted_range}
        self.channels: dict[str, RewardChannel] = {
            "loophole": pay("reward", *self.signals["reward"]),
            "control": pay("trusted", *self.signals["trusted"]),
        }
        own = {LABELLED: rule("labelled"), DISAGREES: rule("disagrees")}
        first = self.options.exploit or DISAGREES
        self.detectors: dict[str, ExploitDetector] = {
            first: own[first], **(own if self.options.label and self.options.trusted else {}), **GENERIC
        }  # fmt: skip
        self.known: dict[str, Task] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """Those of the logs that were read so far, whatever the split."""
        return list(self.known.values())

    def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
        raise UsageError("what was logged elsewhere is judged once, as it is read. Run `loopkit compare` again.")

    def specimens(self, task: Task, draw: Draw) -> Mapping[str, Sequence[Transcript]]:
        return {"honest": [], "exploit": []}
