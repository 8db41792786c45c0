"""Which number format a pretrained model is held in: bf16 where this machine multiplies it faster, found by measuring.

A policy samples and is scored in the same format. bf16 is taken for frozen weights under a LoRA adapter, which stays in
fp32; a run that trains every weight holds them in fp32, since a small step is lost to bf16's rounding.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loopkit.contracts import PolicyRef
from loopkit.experiment.config import RunSpec, on_tiny
from loopkit.records import Json
from loopkit.system.files import to_json, write_whole

if TYPE_CHECKING:
    import torch

Dtype = Literal["float32", "bfloat16"]
FASTER = 1.2
"""bf16 is taken where it is this many times faster: below, its rounding buys nothing."""
SHAPES = ((512, 896, 4864), (32, 896, 4864))
"""Rows, inputs and outputs of the products that are timed: a layer of a half-billion model, training and sampling."""
REPEATS = 3


def choose(spec: RunSpec, start: PolicyRef, recorded: Mapping[str, Json] | None = None) -> PolicyRef:
    """The start policy as a run takes it: with what its chat template is told, and in the run's number format.

    The format is what the run's manifest ``recorded``, what ``run.precision`` says, or measured.
    """
    start = replace(start, template_kwargs=spec.run.chat_template_kwargs)
    if recorded:
        return replace(start, dtype=str(recorded.get("precision", "float32")))
    return replace(start, dtype=in_format(spec))


def in_format(spec: RunSpec) -> Dtype:
    """The format that a run which begins here takes."""
    if spec.run.precision != "auto":
        return spec.run.precision
    frozen = bool(spec.trainer_options.get("lora_rank"))
    return fastest() if frozen and not on_tiny(spec.model) else "float32"


def fastest() -> Dtype:
    """The faster format here."""
    known = measured()
    return "bfloat16" if known["bfloat16"] > FASTER * known["float32"] else "float32"


def measured() -> dict[str, float]:
    """``rates`` here, measured once for a processor and a torch, and kept in the cache."""
    import torch

    from loopkit.policy.process import hardware
    from loopkit.system.files import cache_dir

    file, key = cache_dir() / "precision.json", f"{hardware()}, torch {torch.__version__}"
    known: dict[str, dict[str, float]] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
    if key not in known:
        known[key] = rates()
        write_whole(Path(file), to_json(known))
    return known[key]


def rates() -> dict[str, float]:
    """Matrix products a second by format, in 1e9 multiplications and additions; the slowest shape counts. Under 1 s."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {name: min(_rate(shape, getattr(torch, name), device) for shape in SHAPES)
            for name in ("float32", "bfloat16")}  # fmt: skip


def _rate(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> float:
    import torch

    rows, inputs, outputs = shape
    x = torch.randn(rows, inputs, device=device).to(dtype)
    w = torch.randn(outputs, inputs, device=device).to(dtype)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(REPEATS + 1):  # the first warms up, and may count all the same
            began = time.process_time() if device.type == "cpu" else time.perf_counter()
            float(torch.nn.functional.linear(x, w)[0, 0])  # waits for an accelerator
            now = time.process_time() if device.type == "cpu" else time.perf_counter()
            best = min(best, now - began)
    return 2 * rows * inputs * outputs / max(best, 1e-9) / 1e9
