"""What ``loopkit.watch`` costs a training with TRL: CPU seconds of its thread and of its hooks, against a step's.

``python -m benchmarks.watch`` trains tiny; ``--model DIRECTORY`` (Hugging Face layout) or ``--model FILE.gguf`` another
model. One process, one torch thread; the first step is left out, in which modules are imported. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import loopkit
from benchmarks import workload
from loopkit.elsewhere.trainers import _Book


def exact(completions: list[Any], answer: list[str], **columns: Any) -> list[float]:
    """The trusted score: the last word is the answer."""
    said = [c[0]["content"].split() for c in completions]
    return [float(words[-1:] == [right]) for words, right in zip(said, answer, strict=True)]


def anywhere(completions: list[Any], answer: list[str], **columns: Any) -> list[float]:
    """The reward in question: the answer stands somewhere."""
    return [float(right in c[0]["content"]) for c, right in zip(completions, answer, strict=True)]


def questions(n: int) -> list[dict[str, Any]]:
    draw = random.Random(0)
    pairs = [(draw.randrange(10, 99), draw.randrange(10, 99)) for _ in range(n)]
    return [{"prompt": [{"role": "user", "content": f"What is {a} + {b}?"}], "answer": str(a + b)} for a, b in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=workload.START)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()
    workload.one_thread()
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(measured(options, Path(directory))))


def measured(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """CPU seconds a step of the process without the watching, of its thread, and of what it does in the hot path."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    path = options.model
    if path.endswith(".gguf"):
        from loopkit.policy.gguf import converted

        path = str(converted(Path(path)))
    model = AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    config = GRPOConfig(
        output_dir=str(directory / "trl"),
        per_device_train_batch_size=options.prompts * options.group,
        num_generations=options.group,
        max_completion_length=options.tokens,
        max_steps=options.steps,
        learning_rate=workload.STILL,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    watch = loopkit.watch(directory / "run", reward="anywhere", trusted=exact)
    marks: list[tuple[float, float, float]] = []
    hooks = [0.0]

    class Mark(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((time.process_time(), watch.seconds, hooks[0]))

    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[anywhere],
        args=config,
        train_dataset=Dataset.from_list(questions(options.prompts * options.steps)),
        processing_class=AutoTokenizer.from_pretrained(path),
        callbacks=[Mark()],
    )
    take = _Book._take

    def timed(*given: Any) -> None:
        began = time.thread_time()
        take(*given)
        hooks[0] += time.thread_time() - began

    _Book._take = timed  # type: ignore[method-assign]
    watch.trl(trainer)
    trainer.train()
    steps = [tuple(b - a for a, b in zip(one, other, strict=True)) for one, other in pairwise(marks)]
    step = [whole - thread - hook for whole, thread, hook in steps]
    return {
        "model": Path(path).name,
        "rollouts a step": options.prompts * options.group,
        "steps": len(steps),
        "step_cpu_s": statistics.mean(step),
        "thread_cpu_s": statistics.mean(thread for _, thread, _ in steps),
        "hooks_cpu_s": statistics.mean(hook for *_, hook in steps),
        "ratio": sum(thread + hook for _, thread, hook in steps) / sum(step),
        "faults": watch.faults,
    }


if __name__ == "__main__":
    main()
