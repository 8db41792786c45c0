"""Compare rewards within each group, and take a clipped gradient step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from loopkit.policy.load import CausalPolicy, autocast
from loopkit.policy.memory import accumulate
from loopkit.policy.score import Segment, micro_batches, pad_right, score
from loopkit.rollouts.playing import Played
from loopkit_grpo import algorithms
from loopkit_grpo.trainer import GrpoOptions


@dataclass(frozen=True, slots=True)
class Item:
    """One turn to learn from, with its rollout's index (B,) and what sampling said of its tokens (T,)."""

    segment: Segment
    old: tuple[float, ...]
    rollout: int


class Learning:
    """What ``grpo`` and its presets do with a step's rollouts; ``reference`` is the policy that KL is taken to."""

    def __init__(self, options: GrpoOptions, reference: CausalPolicy | None) -> None:
        self.options, self.reference = options, reference

    def learn(
        self, policy: CausalPolicy, batch: Sequence[Sequence[Played]], update: Callable[[CausalPolicy], float]
    ) -> dict[str, float]:
        """Gradient steps on one on-policy batch of (P, G) rollouts; returns what they measured."""
        rewards = torch.tensor([[p.reward for p in group] for group in batch], dtype=torch.float64)
        rollouts = [p for group in batch for p in group]
        items = [
            Item(Segment(t.prompt_ids, t.ids, t.temperature, t.inserted), t.logprobs, b)
            for b, p in enumerate(rollouts)
            for t in p.turns
            if t.trained and t.prompt_ids is not None and t.ids and t.logprobs is not None
        ]
        lengths = torch.zeros(len(rollouts), dtype=torch.float64)
        for item in items:
            lengths[item.rollout] += item.segment.sampled
        advantage = algorithms.advantages(
            rewards, lengths.view_as(rewards), self.options.baseline, self.options.scale
        ).flatten()
        weights = algorithms.token_weights(lengths, self.options.loss, self.options.divisor)
        # A group whose rewards are all equal has no gradient; with a KL term every token has one.
        used = items if self.options.beta else [i for i in items if advantage[i.rollout] != 0]
        sums = dict.fromkeys(("loss", "entropy", "kl", "clipped", "sampling_kl"), 0.0)
        norm = 0.0
        for _ in range(self.options.updates if used else 0):
            accumulate(
                policy.model.parameters(),
                self._micro_batches(used),
                lambda indices: self._backward(policy, [used[i] for i in indices], advantage, weights, sums),
                sums,
                lambda i: used[i].rollout if self.options.loss == "rollout-ratio" else i,
            )
            norm = update(policy)
        tokens = sum(i.segment.sampled for i in used) * self.options.updates
        loss = sums.pop("loss") / self.options.updates
        if self.reference is None:
            del sums["kl"]
        return {
            "loss": loss,
            "grad_norm": norm,
            "tokens": float(lengths.sum()),
            "used_rollouts": len({i.rollout for i in used}) / len(rollouts),
            **{k: v / max(tokens, 1) for k, v in sums.items()},
        }

    def _micro_batches(self, items: Sequence[Item]) -> list[list[int]]:
        """By turn; for one ratio a rollout, all turns of a rollout meet in one micro-batch."""
        if self.options.loss != "rollout-ratio":
            return list(micro_batches([i.segment for i in items], self.options.token_budget))
        out: list[list[int]] = []
        widest = 0
        for _, turns in groupby(range(len(items)), key=lambda k: items[k].rollout):  # a rollout's are consecutive
            indices = list(turns)
            longest = max(len(items[k].segment.prompt) + len(items[k].segment.ids) for k in indices)
            widest = max(widest, longest)
            if out and (len(out[-1]) + len(indices)) * widest <= self.options.token_budget:
                out[-1] += indices
            else:
                out.append(indices)
                widest = longest
        return out

    def _backward(
        self,
        policy: CausalPolicy,
        items: Sequence[Item],
        advantage: torch.Tensor,
        weights: torch.Tensor,
        sums: dict[str, float],
    ) -> None:
        """Accumulate one micro-batch's gradient."""
        segments = [i.segment for i in items]
        with autocast():
            scores = score(policy.model, segments, pad_id=policy.pad_id)
        now, mask, device = scores.logprobs, scores.mask, scores.mask.device
        old = pad_right([i.old for i in items], 0.0, device, now.dtype)
        owner = torch.tensor([i.rollout for i in items], device=device)
        a = advantage.to(device, now.dtype)[owner]
        w = weights.to(device, now.dtype)[owner]
        if self.options.loss == "rollout-ratio":
            which, place = torch.unique(owner, return_inverse=True)
            zeros = now.new_zeros(len(which))
            total = zeros.index_add(0, place, (now * mask).sum(1))
            before = zeros.index_add(0, place, (old * mask).sum(1))
            each, active = algorithms.surrogate(
                total, before, advantage.to(device, now.dtype)[which], self.options.clip_low, self.options.clip_high
            )
            loss = each.sum() / len(weights)
            clipped = (active[place][:, None] * mask).sum()
        else:
            each, active = algorithms.surrogate(now, old, a[:, None], self.options.clip_low, self.options.clip_high)
            loss = (each * mask * w[:, None]).sum()
            clipped = (active * mask).sum()
        if self.reference is not None:
            with torch.no_grad(), autocast():
                ref = score(self.reference.model, segments, pad_id=policy.pad_id).logprobs
            per_token = algorithms.kl(now, ref) * mask
            loss = loss + self.options.beta * (per_token * w[:, None]).sum()
            sums["kl"] += float(per_token.detach().sum())
        loss.backward()  # type: ignore[no-untyped-call]
        sums["loss"] += float(loss.detach())
        sums["entropy"] += float((scores.entropy * mask).sum())
        sums["clipped"] += float(clipped)
        sums["sampling_kl"] += float(((old - now.detach()) * mask).sum())
