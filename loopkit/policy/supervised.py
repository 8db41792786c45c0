"""Supervised learning on dialogues: what warm-up and ``sft`` share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from loopkit.errors import RunError
from loopkit.policy.load import CausalPolicy, autocast
from loopkit.policy.memory import accumulate
from loopkit.policy.score import Segment, micro_batches, score
from loopkit.records import Dialogue, Message
from loopkit.rollouts.thoughts import part


def segments(policy: CausalPolicy, dialogue: Dialogue) -> list[Segment]:
    """One segment for each assistant message: the templated dialogue before it, and its tokens with an end of turn.

    Thoughts are learned where they were had, and are no part of what later turns are shown, as in play.
    """
    out, before = [], list[Message]()
    for message in dialogue.messages:
        if message.role == "assistant":
            ids = policy.tokenizer(message.content, add_special_tokens=False).input_ids
            out.append(Segment(policy.encode(before), (*ids, policy.tokenizer.eos_token_id)))
            message = replace(message, content=part(message.content)[1])
        before.append(message)
    return out


@dataclass(frozen=True, slots=True)
class Loss:
    """Mean negative log-likelihood a token in nats, and the number of tokens."""

    value: float
    tokens: int


def backward(policy: CausalPolicy, batch: Sequence[Segment], *, token_budget: int, weight: float = 1.0) -> Loss:
    """Accumulate the gradient of ``weight`` x the batch's mean token loss."""
    total = sum(len(s.ids) for s in batch)
    sums = {"loss": 0.0}

    def work(indices: list[int]) -> None:
        with autocast():
            scores = score(policy.model, [batch[i] for i in indices], pad_id=policy.pad_id)
        loss = -scores.logprobs.sum() / total
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        sums["loss"] += float(loss.detach())

    accumulate(policy.model.parameters(), micro_batches(batch, token_budget), work, sums)
    return Loss(sums["loss"], total)


def step(optimizer: torch.optim.Optimizer, model: torch.nn.Module, max_norm: float) -> float:
    """Clip, step, clear; returns the gradient's norm before clipping. Raises RunError if that is not finite."""
    norm = float(torch.nn.utils.clip_grad_norm_((p for p in model.parameters() if p.requires_grad), max_norm))
    if not math.isfinite(norm):
        raise RunError(f"the gradient's norm is {norm}: the policy diverged. Lower the learning rate and start anew.")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


Progress = Callable[[int, int], None]
