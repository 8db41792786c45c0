"""What the trainers are called, and their options. The loop, which needs torch, is imported when one trains."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from loopkit.contracts import Options, PolicyRef, Referee, Trainer
from loopkit_grpo.choices import Baseline, Loss, Scale


class GrpoOptions(Options):
    """Options of grpo and its presets. Defaults follow the paper where it names them, for real models."""

    learning_rate: float = Field(1e-6, gt=0, description="AdamW's, constant")
    baseline: Baseline = Field("group", description="what a reward is compared with")
    scale: Scale = Field("group", description="what advantages are divided by")
    loss: Loss = Field("token", description="how tokens are averaged; rollout-ratio: one ratio a rollout")
    divisor: int = Field(64, ge=1, description="loss=constant divides by this many tokens: the longest answer allowed")
    clip_low: float = Field(0.2, ge=0, description="lower clip of the ratio")
    clip_high: float = Field(0.2, ge=0, description="upper clip of the ratio")
    beta: float = Field(0.0, ge=0, description="weight of the KL to the start policy (k3 estimate, a token)")
    updates: int = Field(1, ge=1, description="gradient steps on each step's rollouts")
    adam_eps: float = Field(1e-8, gt=0, description="AdamW's epsilon")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    lora_rank: int = Field(0, ge=0, description="0: full training; else a LoRA adapter of this rank (needs peft)")
    token_budget: int = Field(16384, ge=1, description="padded tokens a micro-batch; memory, not results")
    checkpoint_every: int = Field(20, ge=1, description="steps between checkpoints; the last step always has one")


class Grpo(Trainer):
    """GRPO and relatives on torch. Deterministic on one machine: the same seed gives the same bytes."""

    Options = GrpoOptions
    options: GrpoOptions
    source: ClassVar[Literal["referee", "rollouts"]] = "referee"
    deterministic = True

    def train(self, source: Referee, workdir: Path) -> PolicyRef:
        """Play, learn, record, ``source.n_steps`` times. Each step is one on-policy batch of P x G rollouts."""
        from loopkit_grpo.loop import Loop

        return Loop(self.options, self.start, self.seed).train(source, workdir)
