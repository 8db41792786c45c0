"""Our formulas against the published ones, written out here on the same float64 tensors.

Read in TRL 1.16.0 (trl/trainer/grpo_trainer.py, rloo_trainer.py), OpenRLHF 0.11.2 (trainer/ppo_utils/
experience_maker.py, models/loss.py) and the papers; the formulas, not the code, are repeated below.

- GRPO (TRL, scale_rewards="group"): A = (r - mean_group) / (std_group + 1e-4), std with Bessel's correction. The token
  loss is -min(rho A, clip(rho, 1 - e_low, 1 + e_high) A) + beta (exp(q - p) - (q - p) - 1), with p the policy's
  and q the reference's log-probability. loss_type "grpo": mean over sequences of the mean over tokens; "bnpo", "dapo":
  sum over all tokens / their number; "dr_grpo": sum over all tokens / (sequences x max_completion_length).
- Dr. GRPO (arXiv 2503.20783; TRL's loss_type="dr_grpo" with scale_rewards="none"): A = r - mean_group.
- RLOO (TRL's RLOOTrainer): A = r - mean of the others; one ratio a sequence, of summed log-probabilities; the clipped
  loss, averaged over sequences. With its beta, beta sum(p_old - q) is subtracted from r first; ours is in the loss.
- REINFORCE++ (OpenRLHF, advantage estimators "reinforce" and "reinforce_baseline", no KL): every token's return is
  its rollout's r, or r - mean_group; returns are whitened over all tokens of the batch with the biased variance,
  clamped at 1e-8; token-level loss. With its KL, beta times each token's is subtracted from the reward at that token;
  ours is in the loss.
"""

from __future__ import annotations

import pytest
import torch
from loopkit_grpo.algorithms import advantages, kl, surrogate, token_weights
from loopkit_grpo.choices import Baseline, Scale

EXACT = 1e-12


def tensors(seed: int, groups: int = 5, size: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards and lengths, (P, G), in float64."""
    made = torch.Generator().manual_seed(seed)
    rewards = torch.randn(groups, size, dtype=torch.float64, generator=made) * 3
    return rewards, torch.randint(1, 30, (groups, size), generator=made).double()


def published_advantages(name: str, rewards: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(P, G) rewards -> (P, G) advantages, group by group and token by token."""
    groups, size = rewards.shape
    out = torch.zeros_like(rewards)
    for g in range(groups):
        r = [float(x) for x in rewards[g]]
        mean = sum(r) / size
        spread = (sum((x - mean) ** 2 for x in r) / (size - 1)) ** 0.5
        for i, x in enumerate(r):
            others = (sum(r) - x) / (size - 1)
            out[g, i] = {
                "grpo": (x - mean) / (spread + 1e-4),
                "rloo": x - others,
                "reinforce++": x,
                "reinforce++-baseline": x - mean,
                "dr-grpo": x - mean,
            }[name]
    if name.startswith("reinforce++"):
        tokens = out.flatten().repeat_interleave(lengths.flatten().long())
        mean_ = tokens.mean()
        variance = (tokens - mean_).pow(2).mean()
        out = (out - mean_) / variance.clamp(min=1e-8).sqrt()
    return out


def published_loss(
    aggregation: str,
    logprobs: list[torch.Tensor],
    old: list[torch.Tensor],
    advantage: torch.Tensor,
    *,
    reference: list[torch.Tensor] | None = None,
    beta: float = 0.0,
    low: float = 0.2,
    high: float = 0.2,
    longest: int = 64,
) -> torch.Tensor:
    """The loss of sequences (their tokens' log-probabilities, all turns in a row) under an aggregation, see above."""
    sequences = []
    for b, (p, o) in enumerate(zip(logprobs, old, strict=True)):
        log_ratio = (p - o).sum() if aggregation == "rloo" else p - o
        ratio = torch.exp(log_ratio)
        loss = -torch.min(ratio * advantage[b], torch.clamp(ratio, 1 - low, 1 + high) * advantage[b])
        if reference is not None and aggregation != "rloo":
            q = reference[b]
            loss = loss + beta * (torch.exp(q - p) - (q - p) - 1)
        sequences.append(loss)
    if aggregation == "rloo":
        return torch.stack(sequences).mean()
    if aggregation == "grpo":
        return torch.stack([s.mean() for s in sequences]).mean()
    total = torch.stack([s.sum() for s in sequences]).sum()
    tokens = sum(len(s) for s in sequences)
    return total / {"dapo": tokens, "dr_grpo": len(sequences) * longest}[aggregation]


PRESETS: dict[str, tuple[Baseline, Scale]] = {
    "grpo": ("group", "group"),
    "rloo": ("leave-one-out", "none"),
    "reinforce++": ("none", "batch"),
    "reinforce++-baseline": ("group", "batch"),
    "dr-grpo": ("group", "none"),
}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_advantages(name: str, seed: int) -> None:
    rewards, lengths = tensors(seed, size=4 + seed)
    ours = advantages(rewards, lengths, *PRESETS[name])
    assert (ours - published_advantages(name, rewards, lengths)).abs().max() <= EXACT


@pytest.mark.parametrize("name", PRESETS)
def test_equal_rewards_teach_nothing_at_all(name: str) -> None:
    """Exactly 0, so that the trainer can leave them out; a mean of equal floats is not always that float."""
    for value in (0.1, -0.7, 1 / 3):
        rewards = torch.full((3, 7), value, dtype=torch.float64)
        found = advantages(rewards, torch.ones_like(rewards) * 5, *PRESETS[name])
        assert (found == 0).all()


def test_groups_of_one() -> None:
    rewards, lengths = tensors(0, size=1)
    for baseline in ("group", "leave-one-out"):
        for scale in ("group", "none", "batch"):
            assert (advantages(rewards, lengths, baseline, scale) == 0).all()
    whitened = advantages(rewards, lengths, "none", "batch")
    assert (whitened * lengths).sum().abs() < 1e-10
    assert torch.equal(advantages(rewards, lengths, "none", "none"), rewards)


def test_one_rollout_without_tokens() -> None:
    rewards, lengths = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    assert advantages(rewards, lengths, "none", "batch").isfinite().all()
    assert token_weights(lengths.flatten(), "rollout", 64).isfinite().all()


@pytest.mark.parametrize(("ours", "published"), [("token", "dapo"), ("rollout", "grpo"), ("constant", "dr_grpo")])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_token_losses(ours: str, published: str, beta: float) -> None:
    """Surrogate, KL and aggregation together: value and gradient."""
    made = torch.Generator().manual_seed(7)
    _, lengths = tensors(7)
    lengths = lengths.flatten()
    n, width = len(lengths), int(lengths.max())
    mask = (torch.arange(width) < lengths[:, None]).double()
    logprobs = (torch.randn(n, width, dtype=torch.float64, generator=made) - 2).requires_grad_()
    old = logprobs.detach() + 0.4 * torch.randn(n, width, dtype=torch.float64, generator=made)
    reference = logprobs.detach() + 0.4 * torch.randn(n, width, dtype=torch.float64, generator=made)
    advantage = torch.randn(n, dtype=torch.float64, generator=made)
    each, active = surrogate(logprobs, old, advantage[:, None], 0.2, 0.28)
    weights = token_weights(lengths, ours, 64)  # type: ignore[arg-type]
    loss = ((each + beta * kl(logprobs, reference)) * mask * weights[:, None]).sum()
    (gradient,) = torch.autograd.grad(loss, logprobs)
    cut = [int(x) for x in lengths]
    expected = published_loss(
        published,
        [logprobs[i, :k] for i, k in enumerate(cut)],
        [old[i, :k] for i, k in enumerate(cut)],
        advantage,
        reference=[reference[i, :k] for i, k in enumerate(cut)],
        beta=beta,
        high=0.28,
    )
    (their_gradient,) = torch.autograd.grad(expected, logprobs)
    assert (loss - expected).abs() <= EXACT
    assert (gradient - their_gradient).abs().max() <= EXACT
    clipped = (gradient == 0) & (mask > 0) if beta == 0 else active & (mask > 0)
    assert torch.equal(clipped, active & (mask > 0))
    assert 0 < clipped.sum() < mask.sum()


def test_sequence_loss() -> None:
    """RLOO: one ratio a rollout."""
    made = torch.Generator().manual_seed(8)
    logprobs = (torch.randn(20, 6, dtype=torch.float64, generator=made) - 2).requires_grad_()
    old = logprobs.detach() + 0.1 * torch.randn(20, 6, dtype=torch.float64, generator=made)
    advantage = torch.randn(20, dtype=torch.float64, generator=made)
    each, active = surrogate(logprobs.sum(1), old.sum(1), advantage, 0.2, 0.2)
    expected = published_loss("rloo", list(logprobs), list(old), advantage)
    assert (each.mean() - expected).abs() <= EXACT
    ours, theirs = (torch.autograd.grad(x, logprobs, retain_graph=True)[0] for x in (each.mean(), expected))
    assert (ours - theirs).abs().max() <= EXACT
    assert 0 < active.sum() < 20


def test_kl() -> None:
    """k3: never negative, 0 at equality, and its mean over the policy's samples is the divergence."""
    made = torch.Generator().manual_seed(9)
    p = torch.randn(50, dtype=torch.float64, generator=made).log_softmax(0)
    q = torch.randn(50, dtype=torch.float64, generator=made).log_softmax(0)
    assert (kl(p, q) >= 0).all()
    assert (kl(p, p) == 0).all()
    assert (p.exp() * kl(p, q)).sum() == pytest.approx(float((p.exp() * (p - q)).sum()), abs=EXACT)
