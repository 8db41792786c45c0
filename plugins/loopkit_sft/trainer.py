"""The loop: take a batch of recorded dialogues, one gradient step on what the policy said in them, record."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from loopkit.contracts import Options, PolicyRef, RolloutSet, Trainer


class SftOptions(Options):
    """Options of sft."""

    learning_rate: float = Field(1e-5, gt=0, description="AdamW's, constant")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    lora_rank: int = Field(0, ge=0, description="0: full training; else a LoRA adapter of this rank (needs peft)")
    token_budget: int = Field(16384, ge=1, description="padded tokens a micro-batch; memory, not results")
    checkpoint_every: int = Field(20, ge=1, description="steps between checkpoints; the last step always has one")


class Sft(Trainer):
    """Next-token likelihood of the recorded assistant turns, averaged over tokens. Deterministic on one machine."""

    Options = SftOptions
    options: SftOptions
    source: ClassVar[Literal["referee", "rollouts"]] = "rollouts"
    deterministic = True

    def train(self, source: RolloutSet, workdir: Path) -> PolicyRef:
        """One gradient step a batch, ``source.n_steps`` times."""
        from loopkit.policy import save
        from loopkit.policy.load import load_trainable
        from loopkit.policy.optimizer import adamw
        from loopkit.policy.supervised import backward, segments, step

        found = save.latest_checkpoint(workdir)
        done = found[0] if found else 0
        policy = load_trainable(self.start, found[1] if found else None, self.options.lora_rank, self.seed)
        optimizer = adamw(
            policy.model,
            found[1] if found else None,
            learning_rate=self.options.learning_rate,
            weight_decay=self.options.weight_decay,
        )
        source.resume(done)
        for k in range(done, source.n_steps):
            began = time.perf_counter()
            batch = [s for dialogue in source.batch(k) for s in segments(policy, dialogue)]
            loss = backward(policy, batch, token_budget=self.options.token_budget)
            norm = step(optimizer, policy.model, self.options.max_grad_norm)
            metrics = {"loss": loss.value, "tokens": float(loss.tokens), "grad_norm": norm}
            source.close(k, metrics, {"learn_s": time.perf_counter() - began})
            if (k + 1) % self.options.checkpoint_every == 0 or k + 1 == source.n_steps:
                save.save_checkpoint(policy, optimizer, workdir, k + 1)
        return save.reference(workdir / save.checkpoint_name(source.n_steps), self.start)
