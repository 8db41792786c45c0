"""(f) A LoRA step of a real model against TRL's: the same weights, prompts, lengths and reward, a process a side.

The game is reward-tampering with the record; the model is a directory that both can load (LOOPKIT_BENCH_MODEL), such as
what `loopkit run --model file.gguf` leaves in its cache. The learning rate leaves the policy as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import workload
from benchmarks.measure import Row, call, paired

MODEL = "LOOPKIT_BENCH_MODEL"
PROMPTS, GROUP, RANK, STEPS = 4, 8, 16, 3
"""Of the steps the first is not counted: both sides still import and allocate."""


def rows(rounds: int) -> list[Row]:
    if not os.environ.get(MODEL):
        print(f"real: skipped. Name a model's directory: {MODEL}=PATH.", file=sys.stderr)
        return []
    out = []
    for dtype in ("bfloat16", "float32"):
        ours, peer = [], []
        for _ in range(rounds):
            ours.append(call("benchmarks.real", "ours", dtype))
            peer.append(call("benchmarks.real", "peer", dtype))
        tokens = [round(median(t for r in side for t in r["tokens"])) for side in (ours, peer)]
        what, note = f"a LoRA step of {rounds} pairs, {dtype}", f"{tokens[0]} and {tokens[1]} tokens a step"
        for unit, key in (("s", "wall"), ("CPU s", "cpu")):
            found = [[median(r[key]) for r in side] for side in (ours, peer)]
            out.append(paired(what, unit, *found, "TRL", aim="4" if key == "wall" else "", note=note))
        peaks = [[r["peak_mb"] for r in side] for side in (ours, peer)]
        out.append(paired(f"its memory, {dtype}", "MB", *peaks, "TRL", aim="2"))
    return out


def game() -> Any:
    """(game, its tasks of ``STEPS`` steps, the longest reply in tokens)."""
    from loopkit.experiment.resolve import build_game
    from loopkit.registry import plugins as registry
    from loopkit.rollouts.referee import plan

    found = build_game(registry.load(), "reward-tampering", {"interface": "record"})
    steps = plan(found.tasks("train"), STEPS, PROMPTS, 0, "train")
    decode = steps[0][0].messages[-1].decode
    assert decode is not None
    return found, steps, decode.max_tokens


def ours(dtype: str) -> dict[str, Any]:
    from loopkit.contracts import PolicyRef
    from loopkit.experiment.rundir import RunDir
    from loopkit.policy.process import tune
    from loopkit.records import StepMetrics
    from loopkit.registry import plugins as registry
    from loopkit.rollouts.referee import LocalReferee
    from loopkit.rollouts.scoring import Setup

    tune(1)
    found, _, _ = game()
    cls = registry.load().trainer("grpo")
    options = {"learning_rate": workload.STILL, "beta": 0, "checkpoint_every": 10**6, "lora_rank": RANK}
    marks, tokens = [], []

    def closed(metrics: StepMetrics) -> None:
        marks.append((time.perf_counter(), time.process_time()))
        tokens.append(metrics.trainer["tokens"])

    with tempfile.TemporaryDirectory() as directory:
        run = RunDir(Path(directory), closed)
        referee = LocalReferee(
            Setup(found, found.channels["loophole"], found.channels, found.detectors), seed=0, split="train",
            n_steps=STEPS, prompts_per_step=PROMPTS, group_size=GROUP, recorder=run,
        )  # fmt: skip
        start = PolicyRef(os.environ[MODEL], dtype=dtype)
        cls(cls.Options.model_validate(options), start, 0).train(referee, run.checkpoints)
    return {"marks": marks, "tokens": tokens}


def peer(dtype: str) -> dict[str, Any]:
    """As a user of TRL writes it, at its best settings: one micro-batch, nothing saved, the same adapter."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    workload.one_thread()
    found, steps, longest = game()
    tasks = [t for step in steps for t in step]

    def reward(completions: list[Any], at: list[int], **_: Any) -> list[float]:
        return workload.rewards(found, "loophole", [tasks[i] for i in at], [c[0]["content"] for c in completions])

    marks: list[tuple[float, float]] = []

    class Mark(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as directory:
        config = GRPOConfig(
            output_dir=directory, seed=0, per_device_train_batch_size=PROMPTS * GROUP, num_generations=GROUP,
            max_completion_length=longest, max_steps=STEPS, learning_rate=workload.STILL,
            lr_scheduler_type="constant", beta=0.0, max_grad_norm=1.0, shuffle_dataset=False,
            gradient_checkpointing=False, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1,
            disable_tqdm=True,
        )  # fmt: skip
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(os.environ[MODEL], dtype=getattr(torch, dtype)),
            reward_funcs=reward, args=config, callbacks=[Mark()],
            train_dataset=Dataset.from_list([{"prompt": workload.chat(t), "at": i} for i, t in enumerate(tasks)]),
            processing_class=AutoTokenizer.from_pretrained(os.environ[MODEL]),
            peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
        )  # fmt: skip
        trainer.train()
    logged = [m["completions/mean_length"] for m in trainer.state.log_history if "completions/mean_length" in m]
    return {"marks": marks, "tokens": [n * PROMPTS * GROUP for n in logged]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=["ours", "peer"])
    parser.add_argument("dtype", choices=["bfloat16", "float32"])
    options = parser.parse_args()
    found = (ours if options.side == "ours" else peer)(options.dtype)
    marks = found.pop("marks")
    found["tokens"] = found["tokens"][1:]
    for i, name in enumerate(("wall", "cpu")):
        found[name] = [b[i] - a[i] for a, b in pairwise(marks)]
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main()
