"""What the trainers are called, and their options. ``learning``, which needs torch, is imported when one trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from loopkit.contracts import Referee
from loopkit.errors import UsageError
from loopkit.policy.trainer import GradientOptions, GradientTrainer
from loopkit.rollouts.playing import Played
from loopkit_grpo.choices import Baseline, Loss, Scale

if TYPE_CHECKING:
    from loopkit.policy.load import CausalPolicy


class GrpoOptions(GradientOptions):
    """Options of grpo and its presets. Defaults follow the paper where it names them, for real models."""

    baseline: Baseline = Field("group", description="what a reward is compared with")
    scale: Scale = Field("group", description="what advantages are divided by")
    loss: Loss = Field("token", description="how tokens are averaged; rollout-ratio: one ratio a rollout")
    divisor: int = Field(64, ge=1, description="loss=constant divides by this many tokens: the longest answer allowed")
    clip_low: float = Field(0.2, ge=0, description="lower clip of the ratio")
    clip_high: float = Field(0.2, ge=0, description="upper clip of the ratio")
    beta: float = Field(0.0, ge=0, description="weight of the KL to the start policy (k3 estimate, a token)")
    updates: int = Field(1, ge=1, description="gradient steps on each step's rollouts")


class Grpo(GradientTrainer):
    """GRPO and relatives on torch. Deterministic on one machine: the same seed gives the same bytes."""

    Options = GrpoOptions
    options: GrpoOptions
    source: ClassVar[Literal["referee", "rollouts"]] = "referee"
    deterministic = True

    def preflight(self, source: Referee, workdir: Path) -> None:
        """Raises UsageError where every advantage would be 0, and so nothing ever learned."""
        if source.group_size < 2 and self.options.baseline != "none":
            raise UsageError(
                f"run.group_size={source.group_size}: baseline={self.options.baseline} compares the rollouts of a "
                "prompt, so nothing would ever be learned. Set run.group_size to 2 or more."
            )

    def preview(self, source: Referee, workdir: Path) -> tuple[tuple[str, str], ...]:
        self.preflight(source, workdir)
        return ()

    def begin(self, policy: CausalPolicy, checkpoint: Path | None) -> None:
        """The start policy beside the trained one, where a KL to it is paid for."""
        from loopkit.policy.load import load
        from loopkit_grpo.learning import Learning

        self.learning = Learning(self.options, load(self.start) if self.options.beta else None)

    def learn(self, policy: CausalPolicy, batch: Sequence[Sequence[Played]]) -> dict[str, float]:
        """Gradient steps on one on-policy batch of (P, G) rollouts."""
        return self.learning.learn(policy, batch, self.update)
