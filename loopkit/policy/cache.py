"""Keys and values of a large model while it samples: read prompt by prompt length, and grown without copying.

transformers' own cache copies all keys and values at each token; here they have room at their end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 32
"""Positions by which the cache grows when it is full."""
READ = {"cpu": 2048}
"""Tokens of prompts, padded, that are read in one pass: on a CPU a larger pass leaves the processor's own caches."""
READ_ELSEWHERE = 65536


class Roomy(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """A layer's keys and values, each a view (B, heads, length, width) of a block with room at its end.

    Without gradients only: the block is written to in place.
    """

    keys: torch.Tensor
    values: torch.Tensor
    blocks: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        begin, end = self.keys.shape[-2], self.keys.shape[-2] + keys.shape[-2]
        if self.blocks is None or end > self.blocks[0].shape[-2]:
            self.blocks = _grown(self.keys, end + ROOM), _grown(self.values, end + ROOM)
        for block, new in zip(self.blocks, (keys, values), strict=True):
            block[:, :, begin:end] = new
        self.keys, self.values = (block[:, :, :end] for block in self.blocks)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)
        self.blocks = None


def _grown(old: torch.Tensor, room: int) -> torch.Tensor:
    """A block (B, heads, room, width) that begins with ``old``."""
    block = old.new_empty(*old.shape[:2], room, old.shape[3])
    block[:, :, : old.shape[2]] = old
    return block


def joined(pasts: Sequence[Any], order: torch.Tensor) -> DynamicCache | None:
    """One cache of the rows of all, padded on the left to the longest, in ``order`` (N,); with room.

    None where some layer keeps something else than all keys and values, such as a window of them.
    """
    if not all(type(layer) is DynamicLayer for past in pasts for layer in getattr(past, "layers", [None])):
        return None
    longest = max(past.get_seq_length() for past in pasts)

    def whole(layer: int, name: str) -> torch.Tensor:
        parts = [getattr(past.layers[layer], name) for past in pasts]
        return torch.cat([functional.pad(p, (0, 0, longest - p.shape[-2], 0)) for p in parts])[order]

    cache = DynamicCache([(whole(i, "keys"), whole(i, "values")) for i in range(len(pasts[0].layers))])
    for i, layer in enumerate(cache.layers):
        cache.layers[i] = Roomy()
        cache.layers[i].__dict__.update(layer.__dict__)
    return cache


def passes(lengths: Sequence[int], device: torch.device) -> Iterator[list[int]]:
    """Indices of prompts to be read together: of about one length, so that little is padding."""
    most = READ.get(device.type, READ_ELSEWHERE)
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[i] > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
