"""Ask the critic, estimate advantages, and take some clipped gradient steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field

from loopkit.policy.load import CausalPolicy, autocast, load
from loopkit.policy.memory import accumulate
from loopkit.policy.score import Segment, micro_batches, pad_right, score
from loopkit.policy.supervised import step as optimizer_step
from loopkit.policy.trainer import GradientOptions, GradientTrainer
from loopkit.rollouts.playing import Played
from loopkit_ppo import critic as critics
from loopkit_ppo import formulas


class PpoOptions(GradientOptions):
    """Options of ppo. Defaults follow TRL's PPOTrainer and OpenRLHF, for real models."""

    learning_rate: float = Field(1e-6, gt=0, description="the policy's, AdamW, constant")
    critic_factor: float = Field(10.0, gt=0, description="the critic's learning rate, as a multiple of learning_rate")
    gamma: float = Field(1.0, gt=0, le=1, description="discount a token")
    lam: float = Field(0.95, ge=0, le=1, description="lambda of the advantage estimate: 1 trusts pay, 0 the critic")
    clip: float = Field(0.2, gt=0, description="clip of the ratio")
    value_clip: float = Field(0.2, ge=0, description="clip of a value's change, in units of pay; 0: none")
    beta: float = Field(0.0, ge=0, description="weight of the KL to the start policy, taken from each token's reward")
    updates: int = Field(4, ge=1, description="gradient steps on each step's rollouts")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm, each network's its own")


@dataclass(frozen=True)
class Batch:
    """A step's turns, each with what is known of its tokens (T,) before learning; ``rollout`` says whose turn it is."""

    turns: Sequence[Segment]
    rollout: Sequence[int]
    old: Sequence[torch.Tensor]
    values: Sequence[torch.Tensor]
    advantages: Sequence[torch.Tensor]
    returns: Sequence[torch.Tensor]


class Ppo(GradientTrainer):
    """PPO, actor and critic each a network of its own. Deterministic on one machine: the same seed, the same bytes."""

    Options = PpoOptions
    options: PpoOptions
    source = "referee"
    deterministic = True

    def begin(self, policy: CausalPolicy, checkpoint: Path | None) -> None:
        """The critic with its optimizer, and the start policy where a KL to it is paid for."""
        rate = self.options.learning_rate * self.options.critic_factor
        self.critic, self.critic_optimizer = critics.resume(self.start, checkpoint, rate)
        self.reference = load(self.start) if self.options.beta else None

    def save_more(self, directory: Path) -> None:
        """The critic and its optimizer."""
        critics.save(self.critic, self.critic_optimizer, directory)

    def learn(self, policy: CausalPolicy, batch: Sequence[Sequence[Played]]) -> dict[str, float]:
        """``updates`` gradient steps of both networks on one on-policy batch of (P, G) rollouts."""
        estimated, metrics = self._estimate([p for group in batch for p in group], policy.pad_id)
        return metrics | self._improve(estimated, policy)

    @torch.no_grad()
    def _estimate(self, rollouts: Sequence[Played], pad_id: int) -> tuple[Batch, dict[str, float]]:
        """Values, advantages and returns of each token, before any gradient step. All turns of a rollout are one row.

        So what a turn leads to is paid to the turns before it: the next turn's first value follows this turn's last.
        """
        said = [(b, t) for b, p in enumerate(rollouts) for t in p.turns if t.trained]
        turns = [Segment(t.prompt_ids or (), t.ids or (), t.temperature, t.inserted) for _, t in said]
        rollout = [b for b, _ in said]
        old = [torch.tensor(t.logprobs, dtype=torch.float64) for _, t in said]
        values: list[torch.Tensor] = [torch.empty(0)] * len(turns)
        kl = [torch.zeros_like(x) for x in old]
        for indices in self._micro_batches(turns):
            some = [turns[i] for i in indices]
            for i, row in zip(indices, self.critic(some).double().cpu(), strict=True):
                values[i] = row[: len(turns[i].ids)]
            if self.reference is not None:
                with autocast():
                    scores = score(self.reference.model, some, pad_id=pad_id)
                for i, row in zip(indices, scores.logprobs.double().cpu(), strict=True):
                    kl[i] = old[i] - row[: len(turns[i].ids)]

        def rows(of: Sequence[torch.Tensor]) -> torch.Tensor:
            """(R, T): the turns of each rollout after one another."""
            whole: list[list[float]] = [[] for _ in rollouts]
            for b, x in zip(rollout, of, strict=True):
                whole[b] += x.tolist()
            return pad_right(whole, 0.0, torch.device("cpu"), torch.float64)

        mask = rows([torch.ones_like(x) for x in old])
        paid = torch.tensor([p.reward for p in rollouts], dtype=torch.float64)
        rewards = formulas.token_rewards(paid, rows(kl), mask, self.options.beta)
        advantages, returns = formulas.gae(rewards, rows(values), mask, self.options.gamma, self.options.lam)
        whitened = formulas.whiten(advantages, mask)
        lengths = [len(s.ids) for s in turns]
        real = mask.bool()

        def cut(x: torch.Tensor) -> Sequence[torch.Tensor]:
            """(R, T) -> what belongs to each turn, (T,) each; a rollout's turns stand in ``turns`` in a row."""
            return torch.split(x[real], lengths)

        batch = Batch(turns, rollout, old, values, cut(whitened), cut(returns))
        spread = float(returns[real].var(correction=0))
        metrics = {
            "tokens": float(mask.sum()),
            "value": float(rows(values)[real].mean()),
            "explained": 1 - float(advantages[real].var(correction=0)) / spread if spread > 1e-8 else 0.0,
        }
        if self.reference is not None:
            metrics["kl"] = float(rows(kl)[real].mean())
        return batch, metrics

    def _improve(self, batch: Batch, policy: CausalPolicy) -> dict[str, float]:
        """``updates`` gradient steps of both networks, each on the whole batch; returns what they measured."""
        tokens = sum(len(s.ids) for s in batch.turns)
        sums = dict.fromkeys(("policy_loss", "value_loss", "entropy", "clipped"), 0.0)

        def backward(indices: list[int]) -> None:
            turns, device = [batch.turns[i] for i in indices], policy.model.device
            with autocast():
                scores = score(policy.model, turns, pad_id=policy.pad_id)
            now, mask = scores.logprobs, scores.mask

            def padded(of: Sequence[torch.Tensor]) -> torch.Tensor:
                return pad_right([of[i].tolist() for i in indices], 0.0, device, now.dtype)

            old, advantages = padded(batch.old), padded(batch.advantages)
            loss = (formulas.policy_loss(now, old, advantages, self.options.clip) * mask).sum() / tokens
            each = formulas.value_loss(
                self.critic(turns), padded(batch.values), padded(batch.returns), self.options.value_clip
            )
            value = (each * mask).sum() / tokens
            (loss + value).backward()  # type: ignore[no-untyped-call]  # the networks share nothing
            sums["policy_loss"] += float(loss.detach())
            sums["value_loss"] += float(value.detach())
            sums["entropy"] += float((scores.entropy * mask).sum()) / tokens
            sums["clipped"] += float((((now.detach() - old).exp() - 1).abs() * mask > self.options.clip).sum()) / tokens

        networks = torch.nn.ModuleList([policy.model, self.critic])
        norms = (0.0, 0.0)
        for _ in range(self.options.updates):
            accumulate(networks.parameters(), self._micro_batches(batch.turns), backward, sums)
            critic_norm = optimizer_step(self.critic_optimizer, self.critic, self.options.max_grad_norm)
            norms = self.update(policy), critic_norm
        mean = {name: total / self.options.updates for name, total in sums.items()}
        return {**mean, "grad_norm": norms[0], "critic_grad_norm": norms[1]}

    def _micro_batches(self, turns: Sequence[Segment]) -> list[list[int]]:
        """Indices; the critic reads every turn with its prompt, so that is the length that counts."""
        whole = [Segment((), (*s.prompt, *s.ids)) for s in turns]
        return list(micro_batches(whole, self.options.token_budget))
