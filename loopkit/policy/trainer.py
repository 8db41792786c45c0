"""A trainer as one method: ``learn``. The order of everything around it is given here, once, for every algorithm.

Checkpoint, load, resume, play, learn, close, save: a step is recorded before its checkpoint is written, so a killed
run finds either both or neither, and ends in the bytes of an uninterrupted one.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, Field

from loopkit.contracts import Options, PolicyRef, Trainer
from loopkit.rollouts.playing import play

if TYPE_CHECKING:  # a trainer can be listed, and its options read, where torch is not installed
    import torch

    from loopkit.policy.load import CausalPolicy


class GradientOptions(Options):
    """What every trainer on torch can be told."""

    learning_rate: float = Field(1e-6, gt=0, description="AdamW's, constant after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps over which the learning rate rises, in equal parts, from 0")
    adam_eps: float = Field(1e-8, gt=0, description="AdamW's epsilon")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    lora_rank: int = Field(0, ge=0, description="0: full training; else a LoRA adapter of this rank (needs peft)")
    token_budget: int = Field(16384, ge=1, description="padded tokens a micro-batch; memory, not results")
    checkpoint_every: int = Field(20, ge=1, description="steps between checkpoints; the last step always has one")
    keep_checkpoints: int = Field(0, ge=0, description="newest checkpoints that are kept, by age alone; 0: all of them")


class GradientTrainer(Trainer):
    """Trains on torch, in this process. A new algorithm writes ``Options`` and ``learn``."""

    Options: ClassVar[type[BaseModel]] = GradientOptions
    options: GradientOptions
    budgets = True
    stops = True
    optimizer: torch.optim.Optimizer
    """AdamW over the policy's trainable parameters; there from ``begin`` on."""

    @abstractmethod
    def learn(self, policy: CausalPolicy, batch: Any) -> dict[str, float]:
        """Learn from one step and return what was measured, by name.

        ``batch`` is (P, G) ``Played`` rollouts of a referee, or (P*G,) ``Dialogue`` of recorded rollouts, by
        ``source``. ``self.update(policy)`` takes the optimizer's step once gradients are accumulated.
        """

    def begin(self, policy: CausalPolicy, checkpoint: Path | None) -> None:
        """Make what else the algorithm needs (a reference policy, a critic), as ``checkpoint`` left it if there is one.

        Called once, before the first step of this process.
        """
        return

    def save_more(self, directory: Path) -> None:
        """Write what ``begin`` needs to continue into a checkpoint's directory."""
        return

    def update(self, policy: CausalPolicy) -> float:
        """Clip, step, clear; returns the gradient's norm before clipping. Raises RunError if that is not finite."""
        from loopkit.policy import supervised

        return supervised.step(self.optimizer, policy.model, self.options.max_grad_norm)

    def train(self, source: Any, workdir: Path) -> PolicyRef:
        """``source.n_steps`` steps, from the newest whole checkpoint in ``workdir`` on."""
        from loopkit.policy import save
        from loopkit.policy.load import load_trainable
        from loopkit.policy.optimizer import adamw

        done, checkpoint = save.latest_checkpoint(workdir) or (0, None)
        options = self.options
        policy = load_trainable(self.start, checkpoint, options.lora_rank, self.seed)
        self.optimizer = adamw(
            policy.model,
            checkpoint,
            learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
            eps=options.adam_eps,
        )
        self.begin(policy, checkpoint)
        source.resume(done)
        step = done
        while step < source.n_steps:  # which an intervention may lower when a step is closed
            began = time.perf_counter()
            batch = play(source, policy, step) if self.source == "referee" else source.batch(step)
            played = time.perf_counter()
            for group in self.optimizer.param_groups:
                group["lr"] = options.learning_rate * min(1.0, (step + 1) / (options.warmup_steps + 1))
            metrics = self.learn(policy, batch)
            source.close(step, metrics, {"play_s": played - began, "learn_s": time.perf_counter() - played})
            if (step + 1) % options.checkpoint_every == 0 or step + 1 == source.n_steps:
                save.save_checkpoint(policy, self.optimizer, workdir, step + 1, self.save_more)
                save.prune(workdir, options.keep_checkpoints)
            step += 1
        return save.reference(workdir / save.checkpoint_name(source.n_steps), self.start)
