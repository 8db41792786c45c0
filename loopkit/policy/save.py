"""Saves and restores a checkpoint: policy in Hugging Face layout, optimizer beside it, whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from loopkit.contracts import PolicyRef
from loopkit.errors import RunError
from loopkit.policy.load import CausalPolicy

OPTIMIZER = "optimizer.safetensors"
ADAPTER = "adapter_config.json"


def checkpoint_name(step: int) -> str:
    """``step-000040``: after 40 steps."""
    return f"step-{step:06d}"


def save_policy(policy: CausalPolicy, directory: Path) -> None:
    """Weights, config, tokenizer and chat template, so that plain transformers loads the directory."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    policy.model.save_pretrained(directory)
    policy.tokenizer.save_pretrained(directory)
    adapter = directory / ADAPTER
    if adapter.exists():  # peft writes the names of the layers in a set's order, another in each process
        config = json.loads(adapter.read_text())
        config["target_modules"] = sorted(config["target_modules"])
        adapter.write_text(json.dumps(config, indent=2, sort_keys=True))


def save_checkpoint(policy: CausalPolicy, optimizer: torch.optim.Optimizer, workdir: Path, step: int) -> Path:
    """Write ``workdir/step-000040`` under another name and rename it, so that a killed save leaves nothing half."""
    from safetensors.torch import save_file

    target = workdir / checkpoint_name(step)
    temporary = workdir / f".tmp-{target.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_policy(policy, temporary)
    save_file(_optimizer_state(policy.model, optimizer), temporary / OPTIMIZER)
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    return target


def latest_checkpoint(workdir: Path) -> tuple[int, Path] | None:
    """(step, directory) of the newest whole checkpoint, None if there is none. Half-written ones are removed."""
    if not workdir.is_dir():
        return None
    for half in workdir.glob(".tmp-*"):
        shutil.rmtree(half)
    found = [(int(m[1]), p) for p in workdir.iterdir() if (m := re.fullmatch(r"step-(\d+)", p.name))]
    return max(found) if found else None


def reference(checkpoint: Path, start: PolicyRef) -> PolicyRef:
    """How to load a checkpoint: by itself, or (LoRA) as an adapter on the policy it started from."""
    if (checkpoint / ADAPTER).exists():
        return PolicyRef(start.path, str(checkpoint))
    return PolicyRef(str(checkpoint))


def load_optimizer(model: Any, optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """Restore the optimizer's moments saved beside a checkpoint."""
    from safetensors.torch import load_file

    path = checkpoint / OPTIMIZER
    try:
        flat = load_file(path)
    except Exception as error:
        raise RunError(
            f"{path} cannot be read ({error}). Remove the directory {checkpoint.name} and run the same command: "
            "the run goes on from the checkpoint before."
        ) from error
    for name, parameter in _trainable(model):
        state = {key: flat[f"{name}|{key}"] for key in ("exp_avg", "exp_avg_sq", "step") if f"{name}|{key}" in flat}
        if state:
            optimizer.state[parameter] = {
                k: v.clone() if k == "step" else v.clone().to(parameter.device) for k, v in state.items()
            }


def _trainable(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _optimizer_state(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}|{key}": value.detach().cpu().contiguous()
        for name, parameter in _trainable(model)
        for key, value in optimizer.state.get(parameter, {}).items()
    }
