"""Supervised learning from recorded dialogues."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from loopkit_sft.trainer import Sft, SftOptions

from loopkit.checks import check_trainer
from loopkit.contracts import PolicyRef
from loopkit.policy.load import load, load_trainable
from loopkit.policy.save import reference, save_checkpoint, save_policy
from loopkit.policy.supervised import segments
from loopkit.policy.warmup import demonstrations, new_policy
from loopkit.records import Dialogue
from tests.policy.small import SETTINGS, plain
from tests.toys import COPYING, DOUBLING, setup

BATCH = 8


class Killed(BaseException):
    pass


class Dialogues:
    """A RolloutSet of demonstrations, which notes its records and may die inside one close."""

    def __init__(self, n_steps: int, die: int | None = None) -> None:
        self.n_steps, self.die = n_steps, die
        self.calls: list[tuple[str, int]] = []
        self.records: dict[int, Mapping[str, float]] = {}
        self.all: list[Dialogue] = list(islice(demonstrations(DOUBLING, 0), n_steps * BATCH))

    def resume(self, step: int) -> None:
        self.calls.append(("resume", step))

    def batch(self, step: int) -> list[Dialogue]:
        return self.all[step * BATCH : (step + 1) * BATCH]

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        if step == self.die:
            raise Killed
        self.calls.append(("close", step))
        self.records[step] = metrics


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> PolicyRef:
    directory = tmp_path_factory.mktemp("start")
    save_policy(new_policy({"doubling": DOUBLING, "copying": COPYING}, SETTINGS), directory)
    return PolicyRef(str(directory))


def options(**given: Any) -> SftOptions:
    return SftOptions.model_validate(given)


def files(ref: PolicyRef) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path(ref.adapter or ref.path).iterdir()}


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_the_loss_falls(start: PolicyRef, tmp_path: Path, lora_rank: int) -> None:
    source = Dialogues(30)
    rate = 0.03 if lora_rank else 0.01
    ref = Sft(options(learning_rate=rate, lora_rank=lora_rank), start, 0).train(source, tmp_path)
    losses = [source.records[k]["loss"] for k in range(30)]
    assert sum(losses[-5:]) < (0.9 if lora_rank else 0.5) * sum(losses[:5])
    assert source.calls == [("resume", 0), *(("close", k) for k in range(30))]
    assert source.records[0].keys() == {"loss", "tokens", "grad_norm"}
    assert (ref.adapter is not None) == bool(lora_rank)
    held_out = [s for d in islice(demonstrations(DOUBLING, 9), 20) for s in segments(load(start), d)]
    with torch.no_grad():
        before, after = (sum(float(plain(load(r).model, s).sum()) for s in held_out) for r in (start, ref))
    assert after > 0.8 * before  # log-likelihoods, both negative


def test_the_first_step_is_that_of_a_masked_loss(start: PolicyRef, tmp_path: Path) -> None:
    """Mean over the assistants' tokens, by plain forward passes; the recorded loss, and the weights after AdamW."""
    source = Dialogues(1)
    made = options(learning_rate=1e-2, weight_decay=0.1, max_grad_norm=0.5, token_budget=60)
    ref = Sft(made, start, 0).train(source, tmp_path)
    policy = load(start)
    spoken = [s for d in source.all for s in segments(policy, d)]
    assert len(spoken) == 2 * BATCH
    loss = -torch.cat([plain(policy.model, s) for s in spoken]).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = list(policy.model.parameters())
    norm = torch.nn.utils.clip_grad_norm_(parameters, 0.5).item()
    torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1, betas=(0.9, 0.95)).step()
    assert source.records[0]["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert source.records[0]["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert source.records[0]["tokens"] == sum(len(s.ids) for s in spoken)
    for ours, naive in zip(load(ref).model.parameters(), parameters, strict=True):
        moved = naive.grad.abs() > 1e-5  # Adam's first step is the gradient's sign: rounding decides it near 0
        assert (ours - naive).detach()[moved].abs().max() < 1e-4


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_killed_and_resumed_is_uninterrupted(start: PolicyRef, tmp_path: Path, lora_rank: int) -> None:
    made = options(learning_rate=1e-2, checkpoint_every=2, lora_rank=lora_rank)
    whole, killed, resumed = Dialogues(6), Dialogues(6, die=3), Dialogues(6)
    expected = Sft(made, start, 0).train(whole, tmp_path / "whole")
    with pytest.raises(Killed):
        Sft(made, start, 0).train(killed, tmp_path / "resumed")
    ref = Sft(made, start, 0).train(resumed, tmp_path / "resumed")
    assert resumed.calls[0] == ("resume", 2)
    assert {**killed.records, **resumed.records} == whole.records
    assert files(ref) == files(expected)


def test_it_starts_from_any_checkpoint(start: PolicyRef, tmp_path: Path) -> None:
    """Another run's checkpoint, a full one or an adapter, is where learning goes on."""
    policy = load_trainable(start, None, 2, 0)
    with torch.no_grad():
        for p in policy.model.parameters():
            if p.requires_grad:
                p.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW([p for p in policy.model.parameters() if p.requires_grad])
    adapter = reference(save_checkpoint(policy, optimizer, tmp_path / "rl", 3), start)
    full = Sft(options(learning_rate=1e-2), start, 0).train(Dialogues(1), tmp_path / "first")
    for k, ref in enumerate((adapter, full)):
        source = Dialogues(1)
        after = Sft(options(learning_rate=1e-30), ref, 0).train(source, tmp_path / f"{k}")
        begun = load(ref)
        spoken = [s for d in source.all for s in segments(begun, d)]
        with torch.no_grad():
            expected = -torch.cat([plain(begun.model, s) for s in spoken]).mean()
        assert source.records[0]["loss"] == pytest.approx(float(expected), abs=1e-5)
        assert after.adapter is None
        ours, theirs = load(after).model.parameters(), begun.model.parameters()
        assert all((a - b).abs().max().item() < 1e-6 for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_it_keeps_to_the_protocol(start: PolicyRef, tmp_path: Path, lora_rank: int) -> None:
    """In this process: that it can begin in a new one is shown with grpo."""
    made: Any = options(learning_rate=1e-3, checkpoint_every=1, lora_rank=lora_rank)
    report = check_trainer(
        Sft, workdir=tmp_path / "work", start=start, setup=setup(DOUBLING), options=made, new_process=False
    )
    assert (report.status, report.reasons) == ("proven", ())
