"""Log-probabilities of what was said, turn by turn, with gradients: the other half of decode.

A segment is one turn: a prompt and the tokens sampled after it. Segments with the same prompt share its forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from loopkit.policy.decode import pad_left, unique
from loopkit.policy.forward import forward_of


@dataclass(frozen=True, slots=True)
class Segment:
    """One turn as trained on: ``prompt`` (L,), ``ids`` (T,), and the temperature it was sampled at."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Scores:
    """(B, T) log-probabilities and entropies in nats, padded on the right; ``mask`` (B, T) is 1 on real tokens."""

    logprobs: torch.Tensor
    entropy: torch.Tensor
    mask: torch.Tensor


def score(model: Any, segments: Sequence[Segment], *, pad_id: int) -> Scores:
    """Score (B,) segments in one forward pass over the distinct prompts and one over the completions."""
    device = model.device
    prompts, which = unique(s.prompt for s in segments)
    prompt_ids, prompt_mask, prompt_positions = pad_left(prompts, pad_id, device)
    select = torch.tensor(which, device=device)
    width = max(len(s.ids) for s in segments)
    ids = torch.full((len(segments), width), pad_id, device=device)
    mask = torch.zeros((len(segments), width), device=device)
    for i, s in enumerate(segments):
        ids[i, : len(s.ids)] = torch.tensor(s.ids, device=device)
        mask[i, : len(s.ids)] = 1.0
    forward = forward_of(model)
    logits, past = forward(prompt_ids, prompt_mask, prompt_positions, last=True)
    logits = logits[select, -1:]
    if width > 1:
        steps = torch.arange(width - 1, device=device)
        rest, _ = forward(
            ids[:, :-1],
            torch.cat([prompt_mask[select], mask[:, :-1].long()], 1),
            prompt_positions[select, -1:] + 1 + steps,
            forward.select(past, select),
        )
        logits = torch.cat([logits, rest], 1)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    temperature = torch.tensor([s.temperature for s in segments], dtype=dtype, device=device)
    everything = torch.log_softmax(logits.to(dtype) / temperature[:, None, None], -1)
    logprobs = everything.gather(2, ids[..., None])[..., 0]
    with torch.no_grad():  # row by row: another (B, T, vocabulary) would cost more memory than all else
        entropy = torch.stack([torch.special.entr(row.exp()).sum(-1) for row in everything])
    return Scores(logprobs * mask, entropy * mask, mask)


def micro_batches(segments: Sequence[Segment], token_budget: int) -> Iterator[list[int]]:
    """Indices in micro-batches whose padded size stays within ``token_budget`` tokens (one segment always fits).

    Sorted by length and prompt, so that padding is small and equal prompts meet.
    """
    order = sorted(range(len(segments)), key=lambda i: (len(segments[i].ids) // 8, segments[i].prompt, i))
    batch: list[int] = []
    prompts: set[tuple[int, ...]] = set()
    length = width = 0
    for i in order:
        new = segments[i]
        prompts.add(new.prompt)
        length, width = max(length, len(new.prompt)), max(width, len(new.ids))
        if batch and len(prompts) * length + (len(batch) + 1) * width > token_budget:
            yield batch
            batch, prompts, length, width = [], {new.prompt}, len(new.prompt), len(new.ids)
        batch.append(i)
    if batch:
        yield batch
