"""TRL's GRPOTrainer between a referee's slots and its rewards."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from loopkit import Decode, Options, PolicyRef, Referee, Trainer, play, seeding
from loopkit.errors import RunError, UsageError
from loopkit.policy import save
from loopkit.policy.load import CausalPolicy, load, load_trainable
from loopkit_trl.speaking import Speaker, sequence

KEPT = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "reward": "reward",
    "entropy": "entropy",
    "kl": "kl",
    "clip_ratio/region_mean": "clipped",
    "completions/mean_length": "mean_length",
    "frac_reward_zero_std": "equal_groups",
}
"""What is recorded of TRL's log, and as what. Its totals since the start of the process would differ after a resume."""


class TrlGrpoOptions(Options):
    """Options of trl:grpo, in the words of ``grpo`` where they mean the same. Defaults are TRL's."""

    learning_rate: float = Field(1e-6, gt=0, description="AdamW's, constant")
    beta: float = Field(0.0, ge=0, description="weight of the KL to the start policy (k3 estimate, a token)")
    loss_type: Literal["dapo", "bnpo", "grpo", "dr_grpo"] = Field("dapo", description="TRL's loss_type")
    scale: Literal["group", "batch", "none"] = Field("group", description="TRL's scale_rewards")
    clip_low: float = Field(0.2, gt=0, description="TRL's epsilon")
    clip_high: float = Field(0.2, gt=0, description="TRL's epsilon_high")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="AdamW's")
    adam_eps: float = Field(1e-8, gt=0, description="AdamW's epsilon")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    micro_batches: int = Field(1, ge=1, description="a step's rollouts are learned in so many parts; memory")
    gradient_checkpointing: bool = Field(False, description="compute activations twice; memory")
    checkpoint_every: int = Field(20, ge=1, description="steps between checkpoints; the last step always has one")


class TrlGrpo(Trainer):
    """TRL samples, compares and learns; the referee poses, replies and pays. Deterministic on one machine."""

    Options = TrlGrpoOptions
    options: TrlGrpoOptions
    source = "referee"
    deterministic = True

    def preflight(self, source: Referee, workdir: Path) -> None:
        self._refuse(source)

    def train(self, source: Referee, workdir: Path) -> PolicyRef:
        """One of TRL's optimizer steps a step, from the newest checkpoint on. TRL's own checkpoints are not used."""
        found = save.latest_checkpoint(workdir)
        done, checkpoint = found or (0, None)
        self._refuse(source)
        policy = load_trainable(self.start, checkpoint, 0, self.seed)
        source.resume(done)
        if done < source.n_steps:
            with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
                # Of what TRL uses and its makers will change: TRL is pinned, and users can do nothing.
                warnings.simplefilter("ignore", FutureWarning)
                warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
                self._build(policy, source, workdir, done, checkpoint, scratch).train()
        return PolicyRef(str(workdir / save.checkpoint_name(source.n_steps)))

    def _refuse(self, source: Referee) -> None:
        if source.group_size < 2:
            raise UsageError("trl:grpo compares the rollouts of a prompt: set run.group_size to 2 or more.")
        if source.prompts_per_step * source.group_size % self.options.micro_batches:
            raise UsageError(
                f"trainer.micro_batches={self.options.micro_batches} does not divide a step's "
                f"{source.prompts_per_step} x {source.group_size} rollouts. Choose a divisor."
            )

    def _build(
        self, policy: CausalPolicy, source: Referee, workdir: Path, done: int, checkpoint: Path | None, scratch: str
    ) -> Any:
        """A GRPOTrainer for the steps that are left."""
        from datasets import Dataset
        from datasets.table import InMemoryTable
        from pyarrow import Table
        from transformers import PrinterCallback
        from trl import GRPOConfig, GRPOTrainer

        slots = [slot for step in range(done, source.n_steps) for slot in source.slots(step)]
        rows = [{"prompt": [{"role": m.role, "content": m.content} for m in slot.messages]} for slot in slots]
        # The fingerprint is given: to make one, datasets 5.2 pickles the table, which fails with pyarrow 26.
        dataset = Dataset(InMemoryTable(Table.from_pylist(rows)), fingerprint="loopkit")
        decodes = [slot.messages[-1].decode or Decode() for slot in slots]
        if decodes[0].temperature == 0:
            raise UsageError("this game's answers are greedy (temperature 0), and GRPO compares samples.")
        config = GRPOConfig(
            output_dir=scratch,
            seed=seeding.digest(self.seed, "trl") >> 33,
            max_steps=source.n_steps - done,
            per_device_train_batch_size=source.prompts_per_step * source.group_size // self.options.micro_batches,
            gradient_accumulation_steps=self.options.micro_batches,
            num_generations=source.group_size,
            shuffle_dataset=False,
            temperature=decodes[0].temperature,
            max_completion_length=max(d.max_tokens for d in decodes),
            learning_rate=self.options.learning_rate,
            lr_scheduler_type="constant",
            beta=self.options.beta,
            loss_type=self.options.loss_type,
            scale_rewards=self.options.scale,
            epsilon=self.options.clip_low,
            epsilon_high=self.options.clip_high,
            optim="adamw_torch",
            adam_beta2=self.options.adam_beta2,
            adam_epsilon=self.options.adam_eps,
            weight_decay=self.options.weight_decay,
            max_grad_norm=self.options.max_grad_norm,
            gradient_checkpointing=self.options.gradient_checkpointing,
            disable_dropout=True,
            use_cpu=not torch.cuda.is_available(),
            bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        clerk = _clerk(self, source, policy, workdir, done)
        made = GRPOTrainer(
            model=policy.model,
            reward_funcs=clerk.paid,
            args=config,
            train_dataset=dataset,
            processing_class=policy.tokenizer,
            callbacks=[clerk],
            rollout_func=clerk.rollout,
        )
        made.remove_callback(PrinterCallback)  # it writes to standard output, which is the command's
        if made.ref_model is not None:  # TRL reads it from where the policy came from: after a resume, a checkpoint
            made.ref_model.load_state_dict(load(self.start).model.state_dict())
        made.create_optimizer()
        if checkpoint is not None:
            save.load_optimizer(policy.model, made.optimizer, checkpoint)
        clerk.speaker = Speaker(policy, made, config.temperature)
        return made


def _clerk(trainer: TrlGrpo, source: Referee, policy: CausalPolicy, workdir: Path, done: int) -> Any:
    """What TRL calls: to play, to be paid, and when a step is done."""
    from transformers import TrainerCallback

    class Clerk(TrainerCallback):  # type: ignore[misc]  # transformers is imported late, and has no types here
        speaker: Speaker
        timings: Mapping[str, float]

        def rollout(self, prompts: list[Any], trl: Any) -> dict[str, Any]:
            """(P x G,) prompts of TRL's next step -> what was said to them, played through the referee."""
            began, step = time.perf_counter(), done + trl.state.global_step
            torch.manual_seed(seeding.digest(trainer.seed, step, "trl") >> 1)  # also of how TRL shuffles the batch
            played = [p for group in play(source, self.speaker, step) for p in group]
            self.speaker.last.clear()
            self.played = time.perf_counter()
            self.timings = {"play_s": self.played - began}
            prompt_ids, completion_ids, mask = zip(*map(sequence, played), strict=True)
            paid = [p.reward for p in played]
            return {
                "prompt_ids": list(prompt_ids),
                "completion_ids": list(completion_ids),
                "logprobs": None,
                "env_mask": list(mask),
                "paid_by_referee": paid,
            }

        def paid(self, prompts: list[Any], paid_by_referee: list[float], **_: Any) -> list[float]:
            """TRL's reward function: what the referee settled."""
            return paid_by_referee

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **given: Any) -> None:
            """After each optimizer step: record it, and only then save."""
            if "loss" not in logs:  # the summary at the end of train()
                return
            metrics = {name: logs[key] for key, name in KEPT.items() if key in logs}
            if odd := {k: v for k, v in metrics.items() if v is None or not math.isfinite(v)}:
                raise RunError(f"TRL reports {odd}: the policy diverged. Lower the learning rate and start anew.")
            step = done + state.global_step
            learned = time.perf_counter() - self.played
            source.close(step - 1, {k: float(v) for k, v in metrics.items()}, {**self.timings, "learn_s": learned})
            if step % trainer.options.checkpoint_every == 0 or step == source.n_steps:
                save.save_checkpoint(policy, given["optimizer"], workdir, step)

    return Clerk()
