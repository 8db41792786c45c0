"""Log-probabilities of what was said, turn by turn, with gradients: the other half of decode.

A segment is one turn: a prompt and the tokens sampled after it. Segments with the same prompt share its forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from loopkit.policy.decode import unique
from loopkit.policy.forward import forward_of, pad_left

T = TypeVar("T")
ENTROPY_ROWS = 64
"""Positions whose entropy is computed together; large vocabularies are why not all are."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One turn as trained on: ``prompt`` (L,), ``ids`` (T,), and the temperature it was sampled at."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    temperature: float = 1.0
    inserted: tuple[int, int] | None = None
    """Tokens of ``ids`` that were not sampled (``Turn.inserted``): they are read, and not learnt from."""

    @property
    def sampled(self) -> int:
        """How many of its tokens were sampled."""
        return len(self.ids) - (self.inserted[1] - self.inserted[0] if self.inserted else 0)


@dataclass(frozen=True, slots=True)
class Scores:
    """(B, T) log-probabilities in nats, padded on the right; ``mask`` (B, T) is 1 on tokens sampled.

    Log-probabilities of tokens that were put in are 0, without gradients.

    ``distributions``: a pass each, (N, V) log-probabilities of all tokens at N real positions, and where (B, T) these
    are; kept by the graph anyhow.
    """

    logprobs: torch.Tensor
    mask: torch.Tensor
    distributions: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def entropy(self) -> torch.Tensor:
        """(B, T) entropies in nats, without gradients; computed when asked for."""
        out = torch.zeros_like(self.logprobs, requires_grad=False)
        with torch.no_grad():
            for everything, where in self.distributions:
                # In pieces: another (N, V) would cost more memory than all else. -p log p of p = 0 is 0.
                floor = torch.finfo(everything.dtype).min
                pieces = [-(q.exp() * q.clamp(min=floor)).sum(-1) for q in torch.split(everything, ENTROPY_ROWS)]
                out[where] = torch.cat(pieces)
        return out


def pad_right(
    sequences: Sequence[Sequence[T]], pad: T, device: torch.device, dtype: torch.dtype = torch.long
) -> torch.Tensor:
    """(B,) sequences -> (B, T)."""
    width = max(map(len, sequences))
    return torch.tensor([[*s, *[pad] * (width - len(s))] for s in sequences], device=device, dtype=dtype)


def score(model: Any, segments: Sequence[Segment], *, pad_id: int) -> Scores:
    """Score (B,) segments in one forward pass over the distinct prompts and one over the completions."""
    device = model.device
    prompts, which = unique(s.prompt for s in segments)
    prompt_ids, prompt_mask, prompt_positions = pad_left(prompts, pad_id, device)
    select = torch.tensor(which, device=device)
    ids = pad_right([s.ids for s in segments], pad_id, device)
    width = ids.shape[1]
    real = torch.arange(width, device=device) < torch.tensor([len(s.ids) for s in segments], device=device)[:, None]
    forward = forward_of(model)
    logits, past = forward(prompt_ids, prompt_mask, prompt_positions)
    first = torch.zeros_like(real)
    first[:, 0] = True
    passes = [(logits.index_select(0, select), first)]
    if width > 1:
        rest, _ = forward(
            ids[:, :-1],
            torch.cat([prompt_mask[select], real[:, :-1].long()], 1),
            prompt_positions[select, -1:] + 1 + torch.arange(width - 1, device=device),
            forward.select(past, select),
            keep=real[:, 1:],
        )
        passes.append((rest, real & ~first))
    dtype = torch.promote_types(logits.dtype, torch.float32)
    logprobs = torch.zeros(ids.shape, dtype=dtype, device=device)
    temperature = torch.tensor([s.temperature for s in segments], dtype=dtype, device=device)
    tempered = any(s.temperature != 1 for s in segments)
    distributions = []
    for raw, where in passes:
        scaled = raw.to(dtype)
        if tempered:
            scaled = scaled / temperature[:, None].expand(ids.shape)[where][:, None]
        everything = torch.log_softmax(scaled, -1)
        distributions.append((everything.detach(), where))
        logprobs = logprobs.masked_scatter(where, everything.gather(1, ids[where][:, None])[:, 0])
    mask = real.to(dtype)
    for row, segment in enumerate(segments):
        if segment.inserted:
            mask[row, slice(*segment.inserted)] = 0
    return Scores(logprobs * mask if any(s.inserted for s in segments) else logprobs, mask, tuple(distributions))


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
