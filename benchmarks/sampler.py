"""(c) Tokens a second of our sampler against transformers' ``generate`` and against the machine's matrix products.

The bound is the time of the model's matrix products alone, at the rate measured for them in the same run, for the
tokens that were sampled and each distinct prompt once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

from benchmarks import workload
from benchmarks.measure import Row, alternate, paired
from loopkit.contracts import PolicyRef
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.process import tune
from loopkit.records import Dialogue, Task

SHAPES = ((16, 8), (256, 1))
"""(prompts, rollouts each): a training step's, and an evaluation's."""


def rows(rounds: int) -> list[Row]:
    tune(1)
    policy = load(PolicyRef(workload.START))
    tasks = workload.game().tasks("train")
    return [row for shape in SHAPES for row in _compare(policy, tasks, *shape, rounds)]


def _compare(policy: CausalPolicy, tasks: Sequence[Task], prompts: int, group: int, rounds: int) -> list[Row]:
    dialogues = [Dialogue(f"{t.id}/{g}", tuple(t.messages)) for t in tasks[:prompts] for g in range(group)]
    encoded = [policy.encode(d.messages) for d in dialogues]
    products = _products(policy.model, len(dialogues))
    bounds: list[float] = []

    def ours() -> float:
        began = time.process_time()
        turns = policy.speak(dialogues)
        spent = time.process_time() - began
        sampled = sum(len(t.ids or ()) for t in turns)
        # The last token said is never run through the model; each distinct prompt is, once.
        run = sampled - len(turns) + sum(map(len, set(encoded)))
        bounds.append(sampled / (run * products()))
        return sampled / spent

    def peer() -> float:
        return _generate(policy, encoded)

    for side in (ours, peer):
        side()
    bounds.clear()
    found = alternate(3 * rounds, ours, peer)
    what, unit = f"sampling {prompts} prompts x {group}", "tokens/CPU s"
    share = [o / b for o, b in zip(found[0], bounds, strict=True)]
    return [
        paired(what, unit, found[0], found[1], "generate", rate=True),
        Row(what, unit, median(found[0]), median(bounds), "matrix products", median(share), min(share), max(share),
            aim="0.5", note=f"{_rate(policy.model, products()):.0f} GFLOP/s"),
    ]  # fmt: skip


def _matrices(model: Any) -> list[Any]:
    return [p for name, p in model.named_parameters() if p.ndim == 2]  # tied embeddings: once, as the output


def _rate(model: Any, seconds: float) -> float:
    """GFLOP/s of the products, from their seconds a token."""
    return 2e-9 * sum(p.numel() for p in _matrices(model)) / seconds


def _products(model: Any, rows: int) -> Callable[[], float]:
    """Measures CPU seconds a token of every matrix of the model, applied once to ``rows`` tokens."""
    pairs = [(torch.randn(rows, p.shape[1]), p.detach()) for p in _matrices(model)]

    def measure() -> float:
        with torch.inference_mode():
            began = time.process_time()
            for _ in range(20):
                for x, weight in pairs:
                    torch.nn.functional.linear(x, weight)
            return (time.process_time() - began) / 20 / rows

    return measure


def _generate(policy: CausalPolicy, encoded: list[tuple[int, ...]]) -> float:
    """Tokens a CPU second, counted as ours: up to and with the end of each turn."""
    longest = max(map(len, encoded))
    ids = torch.tensor([[policy.pad_id] * (longest - len(p)) + list(p) for p in encoded])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in encoded])
    began = time.process_time()
    with torch.inference_mode():
        out = policy.model.generate(
            input_ids=ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0,
            max_new_tokens=workload.LONGEST,
        )  # fmt: skip
    spent = time.process_time() - began
    said = out[:, longest:].tolist()
    ends = policy.stop_ids
    return sum(next((i + 1 for i, t in enumerate(row) if t in ends), len(row)) for row in said) / spent
