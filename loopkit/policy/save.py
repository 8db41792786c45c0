"""Saves and restores a checkpoint: policy in Hugging Face layout, optimizer beside it, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopkit.contracts import PolicyRef
from loopkit.errors import RunError
from loopkit.experiment import digests
from loopkit.system.files import flush
from loopkit.system.notices import notice

if TYPE_CHECKING:  # the names of checkpoints are asked for where torch is not installed
    import torch

    from loopkit.policy.load import CausalPolicy

OPTIMIZER = "optimizer.safetensors"
ADAPTER = "adapter_config.json"
HASHES = "sha256.json"
"""Path -> SHA-256 of a checkpoint's other files: written last, so that it says what a whole one holds."""


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


def save_checkpoint(
    policy: CausalPolicy,
    optimizer: torch.optim.Optimizer,
    workdir: Path,
    step: int,
    more: Callable[[Path], None] = lambda directory: None,
) -> Path:
    """Write ``workdir/step-000040`` under another name and rename it, so that a killed save leaves nothing half.

    What the run recorded up to here is brought to the disk first, so that no checkpoint outlives its records.

    ``more`` writes what else the trainer needs (a critic, say) into the directory that it is given.
    Raises RunError where it cannot be written, a full disk say; what was there before stays.
    """
    target = workdir / checkpoint_name(step)
    temporary = workdir / f".tmp-{target.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_policy(policy, temporary)
        save_optimizer(policy.model, optimizer, temporary)
        more(temporary)
        (temporary / HASHES).write_text(json.dumps(_hashes(temporary), indent=2, sort_keys=True) + "\n")
        flush(workdir.parent if (workdir.parent / digests.FILE).exists() else temporary)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        digests.add(workdir.parent, only=f"{workdir.name}/{target.name}/")
    except Exception as error:  # safetensors and tokenizers have errors of their own for a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunError(
            f"checkpoint {target} cannot be written: {error}. Make room there, or make it writable, and run the same "
            "command: it resumes from the checkpoint before."
        ) from error
    return target


def latest_checkpoint(workdir: Path) -> tuple[int, Path] | None:
    """(step, directory) of the newest whole checkpoint, None if there is none. Half-written ones are removed.

    A damaged one (a file that is missing or not the one that was saved) is named in a notice, and the one before is
    taken; the run makes it anew when it gets there.
    """
    if not workdir.is_dir():
        return None
    for half in workdir.glob(".tmp-*"):
        shutil.rmtree(half)
    checkpoints = [(int(m[1]), p) for p in workdir.iterdir() if (m := re.fullmatch(r"step-(\d+)", p.name))]
    for step, path in sorted(checkpoints, reverse=True):
        why = damage(path)
        if why is None:
            return step, path
        notice("damaged checkpoint", checkpoint=str(path), why=why, cure="the run goes on from the one before")
    return None


def prune(workdir: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest checkpoints; 0 keeps all. Their digests are forgotten first."""
    old = sorted(workdir.glob("step-*"))[:-keep] if keep else []
    known = digests.read(workdir.parent) if old else None
    if known is not None:
        known.forget(lambda name: any(name.startswith(f"{workdir.name}/{path.name}/") for path in old))
        known.write(workdir.parent, durable=True)
    for path in old:
        shutil.rmtree(path)


def require_whole(checkpoint: Path) -> None:
    """Raise RunError where a checkpoint is not what was saved. One without hashes, another trainer's, may be any."""
    why = damage(checkpoint) if (checkpoint / HASHES).exists() else digests.checkpoint_damage(checkpoint)
    if why is not None:
        raise RunError(f"checkpoint {checkpoint} is damaged: {why}. {digests.restore(checkpoint.parent.parent)}")


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files, None if they are those that were saved, and of its run."""
    try:
        saved = json.loads((checkpoint / HASHES).read_bytes())
        hashes = _hashes(checkpoint)
    except (OSError, ValueError) as error:
        return f"{HASHES}: {type(error).__name__}"
    if not isinstance(saved, dict):
        return f"{HASHES} is not what was saved"
    wrong = [
        f"{n} is {'missing' if n not in hashes else 'not what was saved'}" for n in saved if saved[n] != hashes.get(n)
    ]
    return "; ".join(wrong) or digests.checkpoint_damage(checkpoint)


def _hashes(directory: Path) -> dict[str, str]:
    out = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path != directory / HASHES:
            with path.open("rb") as file:
                out[path.relative_to(directory).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return out


def reference(checkpoint: Path, start: PolicyRef) -> PolicyRef:
    """How to load a checkpoint: by itself, or (LoRA) as an adapter on the policy it started from."""
    if (checkpoint / ADAPTER).exists():
        return replace(start, adapter=str(checkpoint))
    return replace(start, path=str(checkpoint), adapter=None)


def save_optimizer(model: Any, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    """Write the optimizer's moments of the model's trainable parameters into ``directory``."""
    from safetensors.torch import save_file

    save_file(_optimizer_state(model, optimizer), directory / OPTIMIZER)


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
