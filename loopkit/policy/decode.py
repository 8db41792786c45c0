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
    top_p: float = 1.0
    top_k: int = 0


def unique(prompts: Iterable[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Distinct prompts in order of appearance, and for each row the index of its prompt."""
    index: dict[tuple[int, ...], int] = {}
    rows = [index.setdefault(p, len(index)) for p in prompts]
    return list(index), rows


@torch.inference_mode()
def sample(model: Any, rows: Sequence[Sampling], *, stop_ids: frozenset[int], pad_id: int) -> list[Sampled]:
    """(B,) rows -> (B,) (ids, logprobs, finish).

    Log-probabilities are those of the tempered distribution over all tokens, as scoring computes them, also where
    ``top_p`` or ``top_k`` leave some tokens out of the draw.
    """
    device = model.device
    prompts, which = unique(r.prompt for r in rows)
    forward = forward_of(model)
    read = forward.read(prompts, pad_id, device)
    select = torch.tensor(which, device=device)
    past = forward.select(read.past, select)
    logits, mask, position = read.logits[select], read.mask[select], read.position[select]
    longest = max(r.max_tokens for r in rows)
    temperature = torch.tensor([r.temperature for r in rows], device=device)
    plain = all(r.temperature == 1 for r in rows)  # then there is nothing to divide by, and nobody is greedy
    cuts = None
    if any(r.top_p < 1 or r.top_k > 0 for r in rows):
        vocabulary = logits.shape[-1]
        cuts = (
            torch.tensor([r.top_p for r in rows], device=device),
            torch.tensor([r.top_k or vocabulary for r in rows], device=device),
        )
    limit = torch.tensor([r.max_tokens for r in rows], device=device)
    draws = torch.tensor(np.stack([_draws(r, longest) for r in rows], 1), device=device)
    stops = torch.tensor(sorted(stop_ids), device=device)
    tokens = torch.full((longest, len(rows)), pad_id, device=device)
    logprobs = torch.zeros((longest, len(rows)), device=device)
    live = torch.arange(len(rows), device=device)  # rows of the batch -> rows of the output
    speaking = torch.ones(len(rows), dtype=torch.bool, device=device)
    mask = torch.cat([mask, mask.new_ones(len(rows), longest)], 1)  # what is said is seen; the rest is cut off
    for t in range(longest):
        token, logprob = _choose(
            logits.float(),
            None if plain else temperature[live],
            draws[t].index_select(0, live),
            cuts and (cuts[0][live], cuts[1][live]),
        )
        tokens[t].index_copy_(0, live, token)  # what a row says after its end is cut off below
        logprobs[t].index_copy_(0, live, logprob)
        speaking = speaking & (token[:, None] != stops).all(1) & (t + 1 < limit)
        n = int(speaking.sum())
        if n == 0:
            break
        if n < COMPACT_BELOW * len(live):
            kept = speaking.nonzero()[:, 0]
            past = forward.select(past, kept)
            live, limit, token, mask, position = live[kept], limit[kept], token[kept], mask[kept], position[kept]
            speaking = speaking[kept]
        seen = mask.shape[1] - longest + t + 1
        logits, past = forward(token[:, None], mask[:, :seen], position[:, None], past)
        position = position + 1
    if not logprobs.isfinite().all():
        raise RunError(
            "the policy's log-probabilities are not finite: it diverged (lower the learning rate and start anew), or "
            "its weights are damaged."
        )
    sampled: list[Sampled] = []
    for row, ids_, logprobs_ in zip(rows, tokens.T.tolist(), logprobs.T.tolist(), strict=True):
        end = next((k + 1 for k, token_ in enumerate(ids_[: row.max_tokens]) if token_ in stop_ids), row.max_tokens)
        sampled.append((ids_[:end], logprobs_[:end], "stop" if ids_[end - 1] in stop_ids else "length"))
    return sampled


def _draws(row: Sampling, n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(n,) uniforms of a row's own stream."""
    if row.temperature == 0:
        return np.zeros(n, dtype=np.float32)
    return np.random.Generator(np.random.Philox(key=seeding.digest(*row.keys))).random(n, dtype=np.float32)


def _choose(
    logits: torch.Tensor,
    temperature: torch.Tensor | None,
    draw: torch.Tensor,
    cuts: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, V) logits, (B,) temperatures (None: all 1) and draws -> (B,) tokens and their log-probabilities.

    Inverse transform: the first token whose cumulative probability exceeds the draw, so that one uniform decides.
    ``cuts``: (B,) top-p and (B,) top-k, within which is drawn.
    """
    scaled = logits if temperature is None else logits / torch.where(temperature == 0, 1.0, temperature)[:, None]
    probabilities = torch.softmax(scaled, -1)
    drawn_from = probabilities if cuts is None else _truncated(probabilities, *cuts)
    cumulative = drawn_from.cumsum(-1, dtype=torch.float64)
    token = torch.searchsorted(cumulative, (draw.double() * cumulative[:, -1])[:, None], right=True)[:, 0]
    token = token.clamp(max=logits.shape[-1] - 1)
    if temperature is not None:
        token = torch.where(temperature == 0, logits.argmax(-1), token)
    return token, probabilities.gather(1, token[:, None])[:, 0].log()


def _truncated(probabilities: torch.Tensor, top_p: torch.Tensor, top_k: torch.Tensor) -> torch.Tensor:
    """(B, V) probabilities with all but the likeliest at 0, not normalised: first top-k, then top-p of what is left."""
    ordered, index = probabilities.sort(stable=True, dim=-1, descending=True)
    rank = torch.arange(ordered.shape[-1], device=ordered.device)
    kept = rank < top_k[:, None]
    ordered = ordered * kept
    likelier = ordered.cumsum(-1) - ordered  # the probability of all that is likelier
    kept &= (likelier < top_p[:, None] * ordered.sum(-1, keepdim=True)) | (rank == 0)
    return probabilities * torch.zeros_like(kept).scatter(-1, index, kept)
