"""The formulas against the published ones, written out again on the same float64 tensors, one token after another.

Read in OpenRLHF 0.11.2 (trainer/ppo_utils/experience_maker.py, models/loss.py, models/utils.py), in TRL's PPOTrainer
(trl/experimental/ppo before 1.16, which has none) and in the papers; the formulas, not the code, are repeated below.

- Reward of a token (OpenRLHF's compute_reward; TRL alike): -beta (log p - log q), and on a rollout's last token r more.
- GAE (arXiv 1506.02438, eq. 16): A_t = sum over l of (gamma lambda)^l delta_(t+l), delta_t = r_t + gamma V_(t+1) - V_t,
  V = 0 after the last token. Returns A_t + V_t.
- Whitening: (A - mean) / sqrt(variance) over all tokens of the batch. OpenRLHF has the biased variance, clamped at 1e-8
  (ours); TRL's masked_whiten has Bessel's correction and adds 1e-8.
- Policy loss: mean over tokens of max(-A ratio, -A clip(ratio, 1 - e, 1 + e)).
- Value loss: half the mean over tokens of max((V - R)^2, (clip(V, old - c, old + c) - R)^2).
"""

from __future__ import annotations

import math

import pytest
import torch
from loopkit_ppo.formulas import gae, policy_loss, token_rewards, value_loss, whiten

EXACT = 1e-12
LENGTHS = (7, 1, 4, 6)


@pytest.fixture
def mask() -> torch.Tensor:
    return (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).double()


def some(seed: int, scale: float = 1.0) -> torch.Tensor:
    """(R, T) numbers; what lies beyond a rollout's end is garbage that must not matter."""
    made = torch.Generator().manual_seed(seed)
    return scale * torch.randn(len(LENGTHS), max(LENGTHS), dtype=torch.float64, generator=made)


def tokens() -> list[tuple[int, int]]:
    return [(i, t) for i, n in enumerate(LENGTHS) for t in range(n)]


def test_token_rewards(mask: torch.Tensor) -> None:
    paid, now, reference = some(0)[:, 0], some(1), some(2)
    found = token_rewards(paid, now - reference, mask, 0.3)
    for i, t in tokens():
        expected = -0.3 * (now[i, t] - reference[i, t]) + (paid[i] if t == LENGTHS[i] - 1 else 0)
        assert found[i, t] == pytest.approx(float(expected), abs=EXACT)
    assert (found[mask == 0] == 0).all()


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (0.97, 0.0)])
def test_advantages_are_the_sum_that_the_paper_writes(mask: torch.Tensor, gamma: float, lam: float) -> None:
    rewards, values = some(3), some(4)
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    for i, t in tokens():
        n = LENGTHS[i]
        v = [*values[i, :n].tolist(), 0.0]
        deltas = [float(rewards[i, k]) + gamma * v[k + 1] - v[k] for k in range(n)]
        expected = sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, n))
        assert advantages[i, t] == pytest.approx(expected, abs=EXACT)
        assert returns[i, t] == pytest.approx(expected + v[t], abs=EXACT)
    assert (advantages[mask == 0] == 0).all()


def test_at_the_ends_of_lambda(mask: torch.Tensor) -> None:
    """1: what is still to be paid, less the critic's guess. 0: how wrong the critic is about the next token."""
    rewards, values = some(5), some(6)
    trusting, _ = gae(rewards, values, mask, 1.0, 1.0)
    doubting, _ = gae(rewards, values, mask, 1.0, 0.0)
    for i, t in tokens():
        n = LENGTHS[i]
        assert trusting[i, t] == pytest.approx(float(rewards[i, t:n].sum() - values[i, t]), abs=EXACT)
        following = float(values[i, t + 1]) if t + 1 < n else 0.0
        assert doubting[i, t] == pytest.approx(float(rewards[i, t]) + following - float(values[i, t]), abs=EXACT)


def test_whitening(mask: torch.Tensor) -> None:
    numbers = some(7, 3)
    real = [float(numbers[i, t]) for i, t in tokens()]
    mean = sum(real) / len(real)
    spread = math.sqrt(sum((x - mean) ** 2 for x in real) / len(real))
    found = whiten(numbers, mask)
    for i, t in tokens():
        assert found[i, t] == pytest.approx((float(numbers[i, t]) - mean) / spread, abs=EXACT)
    assert whiten(torch.ones_like(numbers), mask).abs().max() == 0


def test_policy_loss(mask: torch.Tensor) -> None:
    now, advantages = some(8).requires_grad_(), some(9)
    old = now.detach() + some(10, 0.3)
    loss = (policy_loss(now, old, advantages, 0.2) * mask).sum() / mask.sum()
    (gradient,) = torch.autograd.grad(loss, now)
    clipped = 0
    for i, t in tokens():
        a, ratio = float(advantages[i, t]), math.exp(float(now.detach()[i, t] - old[i, t]))
        outside = ratio > 1.2 if a > 0 else ratio < 0.8
        clipped += outside
        expected = 0.0 if outside else -a * ratio / len(tokens())
        assert gradient[i, t] == pytest.approx(expected, abs=EXACT)
    assert 0 < clipped < len(tokens())
    ratios = [(math.exp(float(now.detach()[i, t] - old[i, t])), float(advantages[i, t])) for i, t in tokens()]
    each = [max(-a * r, -a * min(max(r, 0.8), 1.2)) for r, a in ratios]
    assert float(loss.detach()) == pytest.approx(sum(each) / len(each), abs=EXACT)


@pytest.mark.parametrize("clip", [0.2, 0.0])
def test_value_loss(mask: torch.Tensor, clip: float) -> None:
    values, returns = some(11), some(12)
    old = values + some(13, 0.3)
    loss = (value_loss(values, old, returns, clip) * mask).sum() / mask.sum()
    each = []
    for i, t in tokens():
        v, o, r = float(values[i, t]), float(old[i, t]), float(returns[i, t])
        near = min(max(v, o - clip), o + clip) if clip else v
        each.append(0.5 * max((v - r) ** 2, (near - r) ** 2))
    assert float(loss) == pytest.approx(sum(each) / len(each), abs=EXACT)
