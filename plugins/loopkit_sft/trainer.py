"""One gradient step a batch of recorded dialogues, on what the policy said in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from loopkit.policy.trainer import GradientOptions, GradientTrainer
from loopkit.records import Dialogue

if TYPE_CHECKING:
    from loopkit.policy.load import CausalPolicy


class SftOptions(GradientOptions):
    """Options of sft."""

    learning_rate: float = Field(1e-5, gt=0, description="AdamW's, constant")


class Sft(GradientTrainer):
    """Next-token likelihood of the recorded assistant turns, averaged over tokens. Deterministic on one machine."""

    Options = SftOptions
    options: SftOptions
    source: ClassVar[Literal["referee", "rollouts"]] = "rollouts"
    deterministic = True

    def learn(self, policy: CausalPolicy, batch: Sequence[Dialogue]) -> dict[str, float]:
        """One gradient step on the batch."""
        from loopkit.policy.supervised import backward, segments

        turns = [segment for dialogue in batch for segment in segments(policy, dialogue)]
        loss = backward(policy, turns, token_budget=self.options.token_budget)
        return {"loss": loss.value, "tokens": float(loss.tokens), "grad_norm": self.update(policy)}
