"""What the formulas do not show: the protocol, both turns learned from, the critic, and that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loopkit_ppo.critic import Critic
from loopkit_ppo.trainer import Ppo, PpoOptions

from loopkit import PolicyRef, Turn, check_trainer
from loopkit.experiment.resolve import build_game
from loopkit.policy.load import load
from loopkit.policy.optimizer import adamw
from loopkit.policy.score import Segment, score
from loopkit.policy.tiny import BUNDLED
from loopkit.registry import plugins
from loopkit.rollouts.playing import Played, evaluate
from loopkit.rollouts.referee import LocalReferee
from loopkit.rollouts.scoring import Setup

START = PolicyRef(str(BUNDLED))


def setup_of(name: str) -> Setup:
    game = build_game(plugins.load(), name, {})
    return Setup(game, game.channels["loophole"], dict(game.channels), game.detectors)


class Books:
    """A recorder that keeps each step's metrics and flags."""

    def __init__(self) -> None:
        self.steps: list[tuple[dict[str, float], float]] = []

    def drop(self, step: int) -> None:
        del self.steps[step:]

    def record(self, metrics, scored, timings) -> None:  # type: ignore[no-untyped-def]
        self.steps.append((dict(metrics.trainer), metrics.rewards["paid"]))

    def recorded(self) -> tuple[int, ...]:
        return ()


@pytest.mark.parametrize("name", ["context-compliance", "self-grading"])  # one turn, two turns
def test_it_keeps_to_the_protocol_and_is_deterministic(name: str, tmp_path: Path) -> None:
    options = {"learning_rate": 3e-4, "beta": 0.1, "updates": 2}
    report = check_trainer(Ppo, workdir=tmp_path, start=START, setup=setup_of(name), options=options)
    assert report.status == "proven", report.reasons
    assert "deterministic" in {f.check for f in report.findings if f.ok}


def test_values_do_not_depend_on_batchmates_and_begin_at_zero() -> None:
    critic = Critic(START).eval()
    turns = [Segment((5, 6, 7), (8, 9)), Segment((5,), (10, 11, 12, 13)), Segment((9, 8, 7, 6, 5), (4,))]
    with torch.no_grad():
        assert (critic(turns) == 0).all()
        torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))
        together = critic(turns)
        for row, turn in zip(together, turns, strict=True):
            alone = critic([turn])[0]
            assert torch.allclose(row[: len(turn.ids)], alone, atol=1e-5)
            # V_t is of what stands before token t: it does not see the token itself
            other = critic([Segment(turn.prompt, (*turn.ids[:-1], 99))])[0]
            assert torch.allclose(alone, other, atol=1e-5)


def test_pay_reaches_the_first_turn() -> None:
    """Its tokens get the discounted pay of the end: the next turn follows in the same row."""
    turns = tuple(Turn("", "stop", (5, 6, n), (20 + n, 1), (-3.0, -0.5)) for n in range(2))
    ppo = Ppo(PpoOptions(gamma=1.0, lam=0.5), START, 0)
    ppo.begin(load(START), None)
    batch, _ = ppo._estimate([Played("a", turns, 1.0), Played("b", turns, 0.0)], 0)
    assert torch.cat(list(batch.returns)).tolist() == [0.125, 0.25, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_both_turns_are_learned_from() -> None:
    """After one step each turn of the paid rollout is likelier, and each of the punished one is not."""
    ppo = Ppo(PpoOptions(updates=1, lam=1.0), START, 0)
    policy = load(START)
    ppo.begin(policy, None)
    ppo.optimizer, ppo.critic_optimizer = (
        adamw(policy.model, None, learning_rate=1e-3),
        adamw(ppo.critic, None, learning_rate=1e-3),
    )
    said = [Segment((5, 6, n), (20 + n,)) for n in range(2)] + [Segment((5, 6, n), (30 + n,)) for n in range(2)]

    def logprobs() -> torch.Tensor:
        with torch.no_grad():
            return score(policy.model, said, pad_id=policy.pad_id).logprobs[:, 0]

    before = logprobs()
    turns = [Turn("", "length", s.prompt, s.ids, (float(p),)) for s, p in zip(said, before, strict=True)]
    rollouts = [Played("paid", tuple(turns[:2]), 1.0), Played("punished", tuple(turns[2:]), -1.0)]
    batch, _ = ppo._estimate(rollouts, policy.pad_id)
    ppo._improve(batch, policy)
    moved = logprobs() - before
    assert (moved[:2] > 0).all()
    assert (moved[2:] < 0).all()


def test_it_learns_and_so_does_its_critic(tmp_path: Path) -> None:
    """Pay rises on held-out prompts, and the critic comes to explain what is paid, which it began by not doing."""
    setup, books = setup_of("context-compliance"), Books()
    sizes = {"n_steps": 6, "prompts_per_step": 16, "group_size": 8}
    referee = LocalReferee(setup, seed=0, split="train", recorder=books, **sizes)
    trained = Ppo(PpoOptions(learning_rate=3e-4), START, 0).train(referee, tmp_path)

    def pay(ref: PolicyRef) -> float:
        scored = evaluate(setup, load(ref), seed=1, split="dev", prompts=200, batch=200)
        return sum(s.rewards["paid"] for s in scored) / len(scored)

    assert pay(trained) > pay(START) + 0.5
    explained = [metrics["explained"] for metrics, _ in books.steps]
    assert explained[0] == 0
    assert max(explained[2:]) > 0.1
