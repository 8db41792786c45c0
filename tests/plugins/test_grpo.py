"""The trainer: its whole gradient against a naive one, learning from sampled tokens, resuming to the byte."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import loopkit_grpo
import pytest
import torch
from loopkit_grpo import algorithms
from loopkit_grpo.trainer import Grpo, GrpoOptions

from loopkit.checks import check_trainer
from loopkit.contracts import PolicyRef
from loopkit.errors import RunError
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.save import save_policy
from loopkit.policy.score import Segment
from loopkit.policy.warmup import new_policy, warm_up
from loopkit.records import Turn
from loopkit.rollouts.playing import Played
from loopkit.rollouts.referee import LocalReferee
from tests.plugins.test_grpo_algorithms import published_advantages, published_loss
from tests.policy.small import ONE_WORD, SETTINGS, Ledger, double, plain, random_segments, same
from tests.toys import COPYING, DOUBLING, setup

PRESETS: dict[str, Mapping[str, Any]] = {}
loopkit_grpo.register_trainers(lambda name, target, preset={}: PRESETS.update({name: preset}))
PUBLISHED = {
    "grpo": "dapo", "rloo": "rloo", "reinforce++": "dapo", "reinforce++-baseline": "dapo", "dr-grpo": "dr_grpo",
}  # fmt: skip
"""Each preset's aggregation in the published code (TRL's names)."""


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    """A small policy that says each of four words about equally often, on disk."""
    from dataclasses import replace

    settings = replace(SETTINGS, steps=60, demonstrations_per_step=16, learning_rate=1e-2)
    policy = new_policy({"one-word": ONE_WORD}, settings)
    warm_up(policy, {"one-word": ONE_WORD}, settings)
    directory = tmp_path_factory.mktemp("speaker")
    save_policy(policy, directory)
    return PolicyRef(str(directory))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    """Random weights, for the toy games."""
    directory = tmp_path_factory.mktemp("toy")
    save_policy(new_policy({"doubling": DOUBLING, "copying": COPYING}, SETTINGS), directory)
    return PolicyRef(str(directory))


@pytest.fixture(scope="module")
def random_policy(toy: PolicyRef) -> CausalPolicy:
    return load(toy)


def options(preset: str = "grpo", **given: Any) -> GrpoOptions:
    return GrpoOptions(**{**given, **PRESETS[preset]})


def referee(ledger: Ledger, game: Any = ONE_WORD, *, steps: int = 6, group: int = 4, prompts: int = 2) -> LocalReferee:
    return LocalReferee(
        setup(game), seed=0, split="train", n_steps=steps, prompts_per_step=prompts, group_size=group, recorder=ledger
    )


def played(policy: CausalPolicy, *, noise: float, flat_group: bool = True) -> list[list[Played]]:
    """Two-turn rollouts (4 x 3) with made-up tokens, old log-probabilities off by ``noise``, and rewards."""
    made = torch.Generator().manual_seed(5)
    segments = iter(random_segments(policy, 24, seed=5, temperatures=(1.0, 0.8)))

    def turn() -> Turn:
        s = next(segments)
        with torch.no_grad():
            now = plain(policy.model, s)
        old = now + noise * torch.randn(len(now), dtype=now.dtype, generator=made)
        return Turn("", "stop", s.prompt, s.ids, tuple(old.tolist()), s.temperature)

    rewards = torch.randn(4, 3, dtype=torch.float64, generator=made)
    if flat_group:
        rewards[1] = 0.1
    return [[Played(f"{g}/{i}", (turn(), turn()), float(rewards[g, i])) for i in range(3)] for g in range(4)]


def naive_step(
    policy: CausalPolicy, reference: CausalPolicy | None, groups: list[list[Played]], preset: str, aggregation: str,
    *, beta: float,
) -> torch.Tensor:  # fmt: skip
    """The published loss: one plain forward pass a turn, the tokens of a rollout's turns in a row."""
    rollouts = [p for group in groups for p in group]
    turns = [[Segment(t.prompt_ids or (), t.ids or (), t.temperature) for t in p.turns] for p in rollouts]
    rewards = torch.tensor([[p.reward for p in group] for group in groups], dtype=torch.float64)
    lengths = torch.tensor([float(sum(len(s.ids) for s in ss)) for ss in turns], dtype=torch.float64)
    advantage = published_advantages(preset, rewards, lengths.view_as(rewards)).flatten()
    now = [torch.cat([plain(policy.model, s) for s in ss]) for ss in turns]
    old = [torch.tensor([x for t in p.turns for x in t.logprobs or ()], dtype=torch.float64) for p in rollouts]
    against = None
    if reference is not None:
        with torch.no_grad():
            against = [torch.cat([plain(reference.model, s) for s in ss]) for ss in turns]
    loss = published_loss(aggregation, now, old, advantage, reference=against, beta=beta, longest=64)
    if (
        aggregation == "rloo" and against is not None
    ):  # ours: in the loss, the mean over rollouts of the mean over tokens
        k3 = [((q - p).exp() - (q - p) - 1).mean() for p, q in zip(now, against, strict=True)]
        loss = loss + beta * torch.stack(k3).mean()
    return loss


def learned(trainer: Grpo, policy: CausalPolicy, reference: CausalPolicy | None, groups: Any) -> dict[str, float]:
    """Learn by plain gradient descent, whose step is the gradient."""
    return trainer._learn(policy, reference, torch.optim.SGD(policy.model.parameters(), lr=0.05), groups)


CASES: list[tuple[str, Mapping[str, Any], str]] = [
    *((preset, {}, aggregation) for preset, aggregation in PUBLISHED.items()),
    ("grpo", {"loss": "rollout"}, "grpo"),
]


@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize(("preset", "extra", "aggregation"), CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_learn_is_the_published_step(
    random_policy: CausalPolicy, preset: str, extra: Mapping[str, Any], aggregation: str, updates: int, beta: float
) -> None:
    """Weights after one and two steps on two-turn rollouts, in float64, with and without the clip and KL at work.

    In three ways: one micro-batch, many, and the naive one.
    """
    groups = played(double(random_policy), noise=0.3)
    reference = double(random_policy) if beta else None
    if reference is not None:
        with torch.no_grad():
            for p in reference.model.parameters():
                p.mul_(1.05)
    ends, metrics = [], []
    for budget in (100_000, 64):
        policy = double(random_policy)
        trainer = Grpo(
            options(preset, updates=updates, beta=beta, max_grad_norm=1e9, token_budget=budget, **extra),
            PolicyRef(""), 0,
        )  # fmt: skip
        metrics.append(learned(trainer, policy, reference, groups))
        ends.append([p.detach() for p in policy.model.parameters()])
    naive = double(random_policy)
    start = [p.detach().clone() for p in naive.model.parameters()]
    losses = []
    for _ in range(updates):
        loss = naive_step(naive, reference, groups, preset, aggregation, beta=beta)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        with torch.no_grad():
            for p in naive.model.parameters():
                p -= 0.05 * p.grad
                p.grad = None
    ends.append([p.detach() for p in naive.model.parameters()])
    moved = [[a - b for a, b in zip(end, start, strict=True)] for end in ends]
    assert same(moved[0], moved[2], 1e-11)
    assert same(moved[1], moved[2], 1e-11)
    for found in metrics:
        assert found["loss"] == pytest.approx(sum(losses) / updates, abs=1e-10)
        assert 0 < found["clipped"] < 1
        assert ("kl" in found) == (beta > 0)
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-9)


def test_metrics(random_policy: CausalPolicy) -> None:
    """Entropy, KL and the gap between sampling and training are means over the tokens learnt from."""
    policy = double(random_policy)
    groups = played(policy, noise=0.0)
    turns = [t for group in groups for p in group for t in p.turns]
    found = learned(Grpo(options(max_grad_norm=1e9), PolicyRef(""), 0), policy, None, groups)
    assert found["tokens"] == sum(len(t.ids or ()) for t in turns)
    assert found["used_rollouts"] == 0.75  # one group of four has no variance
    assert found["clipped"] == 0
    assert abs(found["sampling_kl"]) < 1e-12
    assert 4 < found["entropy"] < math.log(len(policy.tokenizer))
    assert found["grad_norm"] > 0
    assert found.keys() == {"loss", "grad_norm", "tokens", "used_rollouts", "entropy", "clipped", "sampling_kl"}


def test_without_variance_there_is_no_step(random_policy: CausalPolicy) -> None:
    policy = double(random_policy)
    before = [p.detach().clone() for p in policy.model.parameters()]
    groups = [[Played(p.id, p.turns, 0.1) for p in group] for group in played(policy, noise=0.3)]
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=0.1, weight_decay=0.1)
    for preset in PRESETS:
        found = Grpo(options(preset), PolicyRef(""), 0)._learn(policy, None, optimizer, groups)
        assert found["used_rollouts"] == found["grad_norm"] == found["loss"] == 0
        assert all(torch.equal(a, b) for a, b in zip(policy.model.parameters(), before, strict=True))
    reference = double(random_policy)
    found = Grpo(options(beta=0.1), PolicyRef(""), 0)._learn(policy, reference, optimizer, groups)
    assert found["used_rollouts"] == 1  # with a KL term every token has a gradient


def test_a_flat_group_gets_no_gradient(random_policy: CausalPolicy) -> None:
    """What its rollouts said makes no difference."""
    trainer = Grpo(options(max_grad_norm=1e9, loss="rollout"), PolicyRef(""), 0)
    groups = played(double(random_policy), noise=0.3)
    silent = [[Played(p.id, (), p.reward) for p in g] if k == 1 else g for k, g in enumerate(groups)]
    one, two = double(random_policy), double(random_policy)
    learned(trainer, one, None, groups)
    learned(trainer, two, None, silent)
    assert same([p.detach() for p in one.model.parameters()], [p.detach() for p in two.model.parameters()], 1e-13)


@pytest.mark.parametrize("loss", ["token", "rollout-ratio"])
def test_micro_batches_keep_within_the_budget(random_policy: CausalPolicy, loss: str) -> None:
    from loopkit_grpo.trainer import Item

    items = [Item(s, (), i // 2) for i, s in enumerate(random_segments(random_policy, 40))]
    for budget in (1, 100, 400, 10**6):
        trainer = Grpo(options(loss=loss, token_budget=budget), PolicyRef(""), 0)
        batches = trainer._micro_batches(items)
        assert sorted(k for batch in batches for k in batch) == list(range(40))
        if loss == "rollout-ratio":
            assert all(k // 2 * 2 in batch and k // 2 * 2 + 1 in batch for batch in batches for k in batch)
            for batch in batches:
                padded = len(batch) * max(len(items[k].segment.prompt) + len(items[k].segment.ids) for k in batch)
                assert padded <= budget or len(batch) == 2
        assert len(batches) == 1 or budget < 10**6


def test_divergence_stops_the_run(speaker: PolicyRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that is not a number: what was recorded stays, and no step is made with it."""
    real, ledger = algorithms.surrogate, Ledger()

    def broken(*args: Any) -> Any:
        loss, active = real(*args)
        return loss * (math.nan if len(ledger.steps) == 3 else 1.0), active

    monkeypatch.setattr(algorithms, "surrogate", broken)
    trainer = Grpo(options(learning_rate=1e-3, checkpoint_every=1), speaker, 0)
    with pytest.raises(RunError, match=r"norm is nan: the policy diverged\. Lower the learning rate"):
        trainer.train(referee(ledger, steps=8), tmp_path)
    assert list(ledger.steps) == [0, 1, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000001", "step-000002", "step-000003"]
    weights = load(PolicyRef(str(tmp_path / "step-000003"))).model.parameters()
    assert all(p.isfinite().all() for p in weights)


@pytest.mark.parametrize("preset", ["grpo", "rloo", "reinforce++"])
def test_the_reward_rises(speaker: PolicyRef, tmp_path: Path, preset: str) -> None:
    """Four words, one of them paid: from a quarter to nearly always, in 30 steps of sampled tokens."""
    ledger = Ledger()
    trainer = Grpo(options(preset, learning_rate=2e-3), speaker, 0)
    ref = trainer.train(referee(ledger, steps=30, group=8, prompts=4), tmp_path)
    paid = [metrics.rewards["paid"] for metrics, _ in ledger.steps.values()]
    assert len(paid) == 30
    assert sum(paid[:3]) / 3 < 0.5
    assert sum(paid[-5:]) / 5 > 0.85
    assert ref == PolicyRef(str(tmp_path / "step-000030"))
    last = [metrics.trainer for metrics, _ in ledger.steps.values()][-1]
    assert last.keys() >= {"loss", "grad_norm", "entropy", "tokens", "used_rollouts", "clipped", "sampling_kl"}
    assert abs(last["sampling_kl"]) < 1e-4


class Killed(BaseException):
    pass


class Dying(LocalReferee):
    """Dies inside ``close`` of one step: before or after it is recorded."""

    at: tuple[int, str] = (-1, "")

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        if self.at == (step, "before"):
            raise Killed
        super().close(step, metrics, timings)
        if self.at == (step, "after"):
            raise Killed


def weights(ref: PolicyRef) -> dict[str, bytes]:
    directory = Path(ref.adapter or ref.path)
    return {p.name: p.read_bytes() for p in directory.iterdir()}


@pytest.mark.parametrize(
    ("at", "extra"),
    [
        ((0, "before"), {}),
        ((4, "before"), {}),
        ((3, "after"), {"beta": 0.1, "updates": 2, "loss": "rollout-ratio"}),
        ((5, "after"), {"lora_rank": 2}),
    ],
)
def test_killed_and_resumed_is_uninterrupted(
    speaker: PolicyRef, tmp_path: Path, at: tuple[int, str], extra: Mapping[str, Any]
) -> None:
    """Six steps, checkpoints after 2, 4, 6: the same bytes and the same records wherever it dies."""
    made = options(learning_rate=1e-3, checkpoint_every=2, weight_decay=0.01, **extra)

    def run(ledger: Ledger, workdir: Path, die: tuple[int, str] = (-1, "")) -> PolicyRef:
        source = Dying(
            setup(ONE_WORD), seed=0, split="train", n_steps=6, prompts_per_step=2, group_size=4, recorder=ledger
        )
        source.at = die
        return Grpo(made, speaker, 0).train(source, workdir)

    whole, resumed = Ledger(), Ledger()
    expected = run(whole, tmp_path / "whole")
    with pytest.raises(Killed):
        run(resumed, tmp_path / "resumed", at)
    assert len(list((tmp_path / "resumed").glob("step-*"))) == at[0] // 2
    ref = run(resumed, tmp_path / "resumed")
    assert weights(ref) == weights(expected)
    assert resumed.steps == whole.steps
    assert list(whole.steps) == list(range(6))
    assert run(resumed, tmp_path / "resumed") == ref  # finished: nothing is played again
    assert resumed.steps == whole.steps


def test_the_seed_decides(speaker: PolicyRef, tmp_path: Path) -> None:
    def said(seed: int) -> Sequence[Any]:
        ledger = Ledger()
        Grpo(options(), speaker, seed).train(
            referee(ledger, steps=1), tmp_path / f"{seed}{len(list(tmp_path.iterdir()))}"
        )
        return [s.rollout.words for s in ledger.steps[0][1]]

    assert said(0) == said(0)
    assert said(0) != said(1)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_it_keeps_to_the_protocol(toy: PolicyRef, tmp_path: Path, preset: str) -> None:
    """On a two-turn game, and with LoRA on a one-turn game."""
    made = options(preset, learning_rate=1e-3, checkpoint_every=1)
    report = check_trainer(
        Grpo, workdir=tmp_path / "full", start=toy, setup=setup(DOUBLING), options=made, group_size=2, new_process=False
    )
    assert (report.status, report.reasons) == ("proven", ())
    if preset in ("grpo", "rloo"):
        lora = options(preset, learning_rate=1e-3, lora_rank=2)
        report = check_trainer(
            Grpo, workdir=tmp_path / "lora", start=toy, setup=setup(COPYING), options=lora, group_size=2,
            new_process=preset == "rloo",
        )  # fmt: skip
        assert (report.status, report.reasons) == ("proven", ())
