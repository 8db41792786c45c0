"""The formulas, as pure functions on tensors: advantages, the clipped surrogate, KL, and how tokens are averaged.

Sources: GRPO, Shao et al. 2024 (arXiv 2402.03300), as in TRL's GRPOTrainer; Dr. GRPO, Liu et al. 2025 (arXiv
2503.20783); RLOO, Ahmadian et al. 2024 (arXiv 2402.14740), as in TRL's RLOOTrainer; REINFORCE++, Hu et al. 2025
(arXiv 2501.03262), as in OpenRLHF. tests/plugins/test_grpo_algorithms.py holds them equal, with versions.

One thing is ours: a KL term (``beta``, off by default) always enters the loss, a token (GRPO; OpenRLHF's use_loss).
TRL's RLOO and OpenRLHF's REINFORCE++ subtract log(policy / reference) from the reward instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from loopkit_grpo.choices import Baseline, Loss, Scale

EPSILON = 1e-4
"""Added to a group's standard deviation before dividing, as in TRL."""


def advantages(rewards: torch.Tensor, lengths: torch.Tensor, baseline: Baseline, scale: Scale) -> torch.Tensor:
    """(P, G) rewards and numbers of tokens -> (P, G) advantages.

    ``baseline``: subtract the group's mean (GRPO), the mean of the others (RLOO), or nothing (REINFORCE++).
    ``scale``: divide by the group's standard deviation (GRPO), whiten over the batch's tokens, so that a long rollout
    counts more (REINFORCE++), or not (RLOO, Dr. GRPO).
    Rewards that are all equal give exactly 0, as does a group of one under "group" and "leave-one-out".
    """
    size = rewards.shape[1]
    if baseline != "none":
        rewards = rewards - rewards[:, :1]  # cancels, but for the rounding: equal rewards have a mean of exactly 0
    elif scale == "batch":
        rewards = rewards - rewards[0, 0]
    centred = rewards if baseline == "none" else rewards - rewards.mean(1, keepdim=True)
    if baseline == "leave-one-out":
        centred = centred * size / max(size - 1, 1)
    if scale == "group":
        spread = rewards.std(1, keepdim=True) if size > 1 else torch.zeros_like(rewards)
        return centred / (spread + EPSILON)
    if scale == "batch":
        share = lengths / lengths.sum().clamp(min=1)
        centred = centred - (share * centred).sum()
        return centred * (share * centred.square()).sum().clamp(min=1e-8).rsqrt()
    return centred


def token_weights(lengths: torch.Tensor, loss: Loss, max_tokens: int) -> torch.Tensor:
    """(B,) tokens a rollout -> (B,) weight of each of its tokens; the loss is the weighted sum over all tokens.

    "token": every token counts alike; "rollout": every rollout does (GRPO's original mean of means); "constant":
    divided by the longest answer allowed, so that length changes no weight (Dr. GRPO); "rollout-ratio": see surrogate.
    """
    rollouts = len(lengths)
    if loss == "token":
        return torch.ones_like(lengths) / lengths.sum()
    if loss == "rollout" or loss == "rollout-ratio":
        return 1 / (lengths.clamp(min=1) * rollouts)
    return torch.ones_like(lengths) / (rollouts * max_tokens)


def surrogate(
    logprobs: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, clip_low: float, clip_high: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's clipped loss, -min(ratio A, clip(ratio) A), elementwise, and where the clip was active.

    Shapes broadcast: (B, T) log-probabilities with (B, 1) advantages for a ratio a token (GRPO); for a ratio a
    rollout (RLOO) pass (B,) sums over a rollout's tokens and (B,) advantages.
    """
    ratio = (logprobs - old).exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    active = ((advantage > 0) & (ratio > 1 + clip_high)) | ((advantage < 0) & (ratio < 1 - clip_low))
    return -torch.minimum(ratio * advantage, clipped * advantage), active


def kl(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Schulman's k3 estimate of KL(policy || reference), a token: exp(d) - d - 1 with d = reference - policy. >= 0."""
    delta = reference - logprobs
    return delta.exp() - delta - 1
