"""One process of the peer: a run as a user of TRL's GRPOTrainer would write it, at its best settings. Prints JSON.

One micro-batch, no gradient checkpointing, one thread, nothing logged or saved; the same start, prompts, group size,
token limit, reward, learning rate and KL weight as ours. TRL's own defaults otherwise (token-level loss, as ours).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from itertools import pairwise
from typing import Any

from benchmarks import workload


def main() -> None:
    parser = workload.parser(__doc__)
    parser.add_argument("--channel", default="loophole")
    parser.add_argument("--learning-rate", type=float, default=workload.STILL)
    parser.add_argument("--evaluate", type=int, default=0, help="held-out prompts played after training")
    parser.add_argument("--evaluate-start", action="store_true", help="and before it")
    options = parser.parse_args()
    workload.one_thread()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        trainer, tokenizer, marks = build(options, directory)
        if options.evaluate_start:
            found["start"] = evaluate(trainer.model, tokenizer, options)
        trainer.train()
        if options.evaluate:
            found["end"] = evaluate(trainer.model, tokenizer, options)
    for i, name in enumerate(("wall", "cpu")):
        found[name] = [b[i] - a[i] for a, b in pairwise(marks)]
    tokens = [m for m in trainer.state.log_history if "completions/mean_length" in m]
    found["tokens"] = [m["completions/mean_length"] * options.prompts * workload.GROUP for m in tokens[1:]]
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def build(options: argparse.Namespace, directory: str) -> tuple[Any, Any, list[tuple[float, float]]]:
    """(trainer, tokenizer, what its steps' ends will be noted in)."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    game = workload.game()
    tasks = [t for step in workload.steps(game, options.steps, options.prompts, options.seed) for t in step]
    rows = Dataset.from_list([{"prompt": workload.chat(t), "at": i} for i, t in enumerate(tasks)])

    def reward(completions: list[Any], at: list[int], **_: Any) -> list[float]:
        said = [c[0]["content"] for c in completions]
        return workload.rewards(game, options.channel, [tasks[i] for i in at], said)

    marks: list[tuple[float, float]] = []

    class Mark(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((time.perf_counter(), time.process_time()))

    tokenizer = AutoTokenizer.from_pretrained(workload.START)
    model = AutoModelForCausalLM.from_pretrained(workload.START, dtype="float32")
    config = GRPOConfig(
        output_dir=directory,
        seed=options.seed,
        per_device_train_batch_size=options.prompts * workload.GROUP,
        gradient_accumulation_steps=1,
        num_generations=workload.GROUP,
        max_completion_length=workload.LONGEST,
        max_steps=options.steps,
        learning_rate=options.learning_rate,
        lr_scheduler_type="constant",
        beta=options.beta,
        adam_beta1=workload.ADAM_BETAS[0],
        adam_beta2=workload.ADAM_BETAS[1],
        max_grad_norm=1.0,
        shuffle_dataset=False,
        gradient_checkpointing=False,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[Mark()],
    )
    return trainer, tokenizer, marks


def evaluate(model: Any, tokenizer: Any, options: argparse.Namespace) -> float:
    """Mean pay of one reply to each held-out prompt, sampled by ``generate`` in batches as large as ours."""
    torch = workload.one_thread()
    game = workload.game()
    tasks = game.tasks("test")[: options.evaluate]
    torch.manual_seed(options.seed)
    model.eval()
    said: list[str] = []
    for k in range(0, len(tasks), workload.EVAL_BATCH):
        text = [
            tokenizer.apply_chat_template(workload.chat(t), tokenize=False, add_generation_prompt=True)
            for t in tasks[k : k + workload.EVAL_BATCH]
        ]
        batch = tokenizer(text, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        with torch.inference_mode():
            out = model.generate(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                max_new_tokens=workload.LONGEST,
            )
        said += tokenizer.batch_decode(out[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    paid = workload.rewards(game, options.channel, tasks, said)
    return sum(paid) / len(paid)


if __name__ == "__main__":
    main()
