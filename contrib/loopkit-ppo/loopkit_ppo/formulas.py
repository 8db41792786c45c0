"""The formulas, as pure functions on tensors (R, T): a row is a rollout, a column one of its tokens, over all turns.

Sources: PPO, Schulman et al. 2017 (arXiv 1707.06347); generalised advantage estimation, Schulman et al. 2016 (arXiv
1506.02438); the KL term in the reward, Ouyang et al. 2022 (arXiv 2203.02155); the clipped value loss and whitening as
OpenRLHF 0.11.2 and TRL's PPOTrainer compute them. tests/test_formulas.py holds them equal.
"""

from __future__ import annotations

import torch


def token_rewards(paid: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, beta: float) -> torch.Tensor:
    """(R,) rewards and (R, T) log(policy / reference) -> (R, T): all on the last token, less beta x KL on each."""
    last = mask.sum(1, keepdim=True).long() - 1
    return torch.zeros_like(kl).scatter(1, last, paid[:, None]) - beta * kl * mask


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, T) advantages and returns; nothing follows a rollout's last token.

    A_t = sum over k of (gamma lam)^k delta_(t+k), with delta_t = r_t + gamma V_(t+1) - V_t; the return is A_t + V_t.
    """
    rewards, values = rewards * mask, values * mask
    advantages = torch.zeros_like(values)
    after, following = torch.zeros_like(values[:, 0]), torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        after = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * after
        following = values[:, t]
        advantages[:, t] = after
    return advantages, advantages + values


def whiten(advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean 0 and variance 1 over the batch's tokens; biased variance, clamped at 1e-8 as in OpenRLHF."""
    centred = advantages - (advantages * mask).sum() / mask.sum()
    return centred * ((centred.square() * mask).sum() / mask.sum()).clamp(min=1e-8).rsqrt()


def policy_loss(logprobs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, clip: float) -> torch.Tensor:
    """-min(ratio A, clip(ratio, 1 - clip, 1 + clip) A), a token."""
    ratio = (logprobs - old).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def value_loss(values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip: float) -> torch.Tensor:
    """0.5 max((V - R)^2, (clip(V, old - clip, old + clip) - R)^2), a token; without a clip (0) plain 0.5 (V - R)^2."""
    plain = (values - returns).square()
    if clip == 0:
        return 0.5 * plain
    clipped = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum(plain, (clipped - returns).square())
