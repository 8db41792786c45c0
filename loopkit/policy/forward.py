"""One forward pass with a cache, under whichever name transformers gives the cache."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import torch


class Forward(Protocol):
    """A model's forward pass. What it returns as ``past`` is passed on to the next call as it is."""

    def __call__(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: Any = None, *, last: bool = False
    ) -> tuple[torch.Tensor, Any]:
        """ids and positions (B, T), mask (B, past + T) -> logits (B, T, V), with ``last`` (B, 1, V), and past."""

    def select(self, past: Any, rows: torch.Tensor) -> Any:
        """The past of these rows (N,) of the batch, which may repeat."""


def forward_of(model: Any) -> Forward:
    """The forward pass for this model as it is now. Ask again after its weights have changed."""
    return Ordinary(model)


class Ordinary:
    """transformers' own forward pass."""

    def __init__(self, model: Any) -> None:
        self.model = model
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        # From transformers 5.24 on it is called cache, and the old name brings a warning.
        self.name = "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"

    def __call__(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: Any = None, *, last: bool = False
    ) -> tuple[torch.Tensor, Any]:
        more: dict[str, Any] = {} if past is None else {self.name: past}
        if last:
            more["logits_to_keep"] = 1
        out = self.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **more)
        return out.logits, getattr(out, self.name)

    def select(self, past: Any, rows: torch.Tensor) -> Any:
        past.batch_select_indices(rows)
        return past
