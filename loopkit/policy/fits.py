"""What a model needs of a machine: bytes to train it whole or with LoRA, and what is here. Estimates, without torch."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
WEIGHT = {"float32": 4, "bfloat16": 2}
"""Bytes a weight."""
FULL = 16
"""Bytes a weight that is trained: itself, its gradient and Adam's two moments, in fp32."""
LOGIT_COPIES = 5
"""Of a micro-batch's logits that live at once in fp32: fitted to two peaks, SmolLM2-135M's and Qwen2.5-0.5B's."""
RUNTIME = 0.6 * GIB
"""Of the process itself: Python, torch, and the games."""


@dataclass(frozen=True)
class Shape:
    """What decides the memory of a model."""

    parameters: int
    vocabulary: int
    hidden: int
    layers: int


def training_bytes(shape: Shape, *, lora_rank: int, dtype: str = "float32", tokens: int = 1024) -> int:
    """Bytes that a training run takes at most: weights, what is trained, and a micro-batch of ``tokens``.

    An estimate, to a third or so: what a layer keeps for the backward pass is counted as 16 vectors of its width.
    """
    trained = 14 * lora_rank * shape.hidden * shape.layers * 2 if lora_rank else shape.parameters
    weights = shape.parameters * WEIGHT[dtype] + trained * FULL if lora_rank else shape.parameters * FULL
    logits = tokens * shape.vocabulary * 4 * LOGIT_COPIES
    kept = tokens * shape.layers * shape.hidden * 16 * WEIGHT[dtype]
    return int(weights + logits + kept + RUNTIME)


def largest(memory: int, *, lora_rank: int, dtype: str = "float32", tokens: int = 1024) -> int:
    """Parameters of the largest model of the usual proportions that can be trained in so many bytes; 0: none."""
    sizes = [s for s in USUAL if training_bytes(s, lora_rank=lora_rank, dtype=dtype, tokens=tokens) <= memory]
    return max((s.parameters for s in sizes), default=0)


USUAL = tuple(
    Shape(int(millions * 1e6), vocabulary, hidden, layers)
    for millions, vocabulary, hidden, layers in (
        (135, 49_152, 576, 30), (362, 49_152, 960, 32), (494, 151_936, 896, 24), (751, 151_936, 1024, 28),
        (1236, 128_256, 2048, 16), (1544, 151_936, 1536, 28), (3086, 151_936, 2048, 36), (7616, 152_064, 3584, 28),
        (14_770, 152_064, 5120, 48), (32_764, 152_064, 5120, 64),
    )
)  # fmt: skip
"""Proportions of models in use (SmolLM2, Qwen2.5, Qwen3, Llama 3.2), smallest first."""


def usual(parameters: int) -> Shape:
    """The shape of a model of so many parameters, by the usual one that is nearest in size."""
    near = min(USUAL, key=lambda s: abs(s.parameters - parameters))
    return Shape(parameters, near.vocabulary, near.hidden, near.layers)


def memory() -> tuple[int, int]:
    """(bytes of memory, of which are free) that this process may use: the machine's, or its control group's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = total
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8"))
        total = min(total, limit)
    return total, min(free, total)
