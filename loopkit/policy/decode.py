"""Batched sampling with a KV cache, over any Hugging Face causal LM.

Equal prompts run once (a group's shared prompt), finished rows leave the batch, and each row draws from a stream of
its own, so a row's tokens do not depend on its batchmates beyond the rounding of its probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from loopkit import seeding
from loopkit.errors import RunError
from loopkit.policy.forward import forward_of

COMPACT_BELOW = 0.75
"""Rows are dropped from the batch when fewer than this share still speak; each drop copies the cache."""

Sampled = tuple[list[int], list[float], Literal["stop", "length"]]


@dataclass(frozen=True, slots=True)
class Sampling:
    """One row: a prompt (L,), how to sample, and the keys of its draws. Temperature 0 is greedy."""

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float
    keys: tuple[Any, ...]


def pad_left(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """(N,) sequences -> ids, mask and positions, each (N, L), padded on the left."""
    length = max(map(len, sequences))
    ids = torch.tensor([[pad_id] * (length - len(s)) + list(s) for s in sequences], device=device)
    lengths = torch.tensor([len(s) for s in sequences], device=device)
    positions = torch.arange(length, device=device) - (length - lengths)[:, None]
    return ids, (positions >= 0).long(), positions.clamp(min=0)


def unique(prompts: Iterable[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Distinct prompts in order of appearance, and for each row the index of its prompt."""
    index: dict[tuple[int, ...], int] = {}
    rows = [index.setdefault(p, len(index)) for p in prompts]
    return list(index), rows


@torch.inference_mode()
def sample(model: Any, rows: Sequence[Sampling], *, stop_ids: frozenset[int], pad_id: int) -> list[Sampled]:
    """(B,) rows -> (B,) (ids, logprobs, finish). Log-probabilities are those of the tempered distribution sampled."""
    device = model.device
    prompts, which = unique(r.prompt for r in rows)
    ids, mask, positions = pad_left(prompts, pad_id, device)
    forward = forward_of(model)
    logits, past = forward(ids, mask, positions)
    select = torch.tensor(which, device=device)
    past = forward.select(past, select)
    logits, mask, position = logits[select], mask[select], positions[select, -1] + 1
    temperature = torch.tensor([r.temperature for r in rows], device=device)
    limit = torch.tensor([r.max_tokens for r in rows], device=device)
    longest = int(limit.max())
    draws = torch.tensor(np.stack([_draws(r, longest) for r in rows]), device=device)
    stops = torch.tensor(sorted(stop_ids), device=device)
    tokens = torch.full((len(rows), longest), pad_id, device=device)
    logprobs = torch.zeros((len(rows), longest), device=device)
    lengths = limit.clone()
    live = torch.arange(len(rows), device=device)  # rows of the batch -> rows of the output
    speaking = torch.ones(len(rows), dtype=torch.bool, device=device)
    for t in range(longest):
        token, logprob = _choose(logits.float(), temperature[live], draws[live, t])
        tokens[live, t] = torch.where(speaking, token, pad_id)
        logprobs[live, t] = torch.where(speaking, logprob, 0.0)
        ended = speaking & (torch.isin(token, stops) | (t + 1 >= limit[live]))
        lengths[live[ended]] = t + 1
        speaking = speaking & ~ended
        n = int(speaking.sum())
        if n == 0:
            break
        if n < COMPACT_BELOW * len(live):
            kept = speaking.nonzero()[:, 0]
            past = forward.select(past, kept)
            live, token, mask, position, speaking = live[kept], token[kept], mask[kept], position[kept], speaking[kept]
        mask = torch.cat([mask, mask.new_ones(len(live), 1)], 1)
        logits, past = forward(token[:, None], mask, position[:, None], past)
        position = position + 1
    if not logprobs.isfinite().all():
        raise RunError(
            "the policy's log-probabilities are not finite: it diverged (lower the learning rate and start anew), or "
            "its weights are damaged."
        )
    sampled: list[Sampled] = []
    for ids_, logprobs_, length in zip(tokens.tolist(), logprobs.tolist(), lengths.tolist(), strict=True):
        said = ids_[:length]
        sampled.append((said, logprobs_[:length], "stop" if said[-1] in stop_ids else "length"))
    return sampled


def _draws(row: Sampling, n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(n,) uniforms of a row's own stream."""
    if row.temperature == 0:
        return np.zeros(n, dtype=np.float32)
    return np.random.Generator(np.random.Philox(key=seeding.digest(*row.keys))).random(n, dtype=np.float32)


def _choose(logits: torch.Tensor, temperature: torch.Tensor, draw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, V) logits, (B,) temperatures and draws -> (B,) tokens and their log-probabilities.

    Inverse transform: the first token whose cumulative probability exceeds the draw, so that one uniform decides.
    """
    greedy = temperature == 0
    probabilities = torch.softmax(logits / torch.where(greedy, 1.0, temperature)[:, None], -1)
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    token = torch.searchsorted(cumulative, (draw.double() * cumulative[:, -1])[:, None], right=True)[:, 0]
    token = torch.where(greedy, logits.argmax(-1), token.clamp(max=logits.shape[-1] - 1))
    return token, probabilities.gather(1, token[:, None])[:, 0].log()
