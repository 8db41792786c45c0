"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685): peft's modules, files and merging, with a leaner forward pass.

peft casts every layer's input to the adapter's fp32 and adds in three passes over the output. Here the adapter's
weights, kept in fp32, are cast to the input's format, which is what is multiplied under autocast, and the product is
added as it is computed. tests/policy/test_lora.py holds both equal in fp32.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

import torch

from loopkit.errors import UsageError, needing


def add_lora(model: Any, rank: int) -> Any:
    """The model wrapped with a trainable LoRA adapter on every linear layer (alpha = 2 x rank)."""
    peft = _peft()
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with _quiet():
        return _lean(peft.get_peft_model(model, config))


def with_adapter(model: Any, adapter: str, *, trainable: bool) -> Any:
    """The model with the adapter of a directory beside its weights. Raises UsageError where it cannot be loaded."""
    peft = _peft()
    from safetensors import SafetensorError

    pickled = Path(adapter, "adapter_model.bin")
    if pickled.exists() and not pickled.with_suffix(".safetensors").exists():
        raise UsageError(f"the LoRA adapter {adapter!r} is pickled (adapter_model.bin): give one in safetensors.")
    try:
        with _quiet():
            return _lean(peft.PeftModel.from_pretrained(model, adapter, is_trainable=trainable))
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"the LoRA adapter {adapter!r} could not be loaded: {error}") from error


def _lean(model: Any) -> Any:
    """The model, with ``_forward`` in each of its layers that is a plain adapter on a plain linear layer."""
    from peft.tuners.lora import Linear

    for layer in model.modules():
        if (
            type(layer) is Linear
            and type(layer.base_layer) is torch.nn.Linear
            and list(layer.lora_A) == list(layer.active_adapters) == ["default"]
            and isinstance(layer.lora_dropout["default"], torch.nn.Identity)
            and not (layer.lora_variant or layer.lora_bias["default"])
        ):
            layer.forward = MethodType(_forward, layer)
    return model


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """x (..., inputs) -> (..., outputs)."""
    if layer.disable_adapters or layer.merged:
        base: torch.Tensor = layer.base_layer(x)
        return base
    down, up = (adapter["default"].weight.to(x.dtype) for adapter in (layer.lora_A, layer.lora_B))
    rows = x.reshape(-1, x.shape[-1])
    out = torch.addmm(layer.base_layer(rows), rows @ down.T, up.T, alpha=layer.scaling["default"])
    return out.view(*x.shape[:-1], -1)


def _peft() -> Any:
    with needing("LoRA"):
        import peft
    return peft


@contextmanager
def _quiet() -> Iterator[None]:
    """peft uses what transformers is about to rename; the user can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
