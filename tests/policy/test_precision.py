"""The number format of a run: measured once, recorded, and the same for sampling, scoring and evaluation. 5 s."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import loopkit
from loopkit.contracts import PolicyRef
from loopkit.experiment import digests
from loopkit.experiment.config import Experiment
from loopkit.experiment.resolve import resolve
from loopkit.policy import precision
from loopkit.policy.load import CausalPolicy, load, load_trainable
from loopkit.policy.save import prune, reference, save_checkpoint
from loopkit.policy.score import score
from loopkit.policy.supervised import step
from loopkit.records import Decode, Dialogue, Message
from loopkit.registry import plugins as registry
from tests.policy.small import random_segments


def spec(model: str, **options: Any) -> Any:
    run = {k: options.pop(k) for k in list(options) if k == "precision"}
    asked = Experiment(game="self-grading", model=model, seeds="1", trainer_options=options, run=run)
    return resolve(asked, registry.load())[0]


@pytest.fixture
def fast_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """bf16 is measured to be faster here; how often it was measured."""
    monkeypatch.setenv("LOOPKIT_CACHE", str(tmp_path / "cache"))
    asked: list[int] = []

    def rates() -> dict[str, float]:
        asked.append(1)
        return {"float32": 50.0, "bfloat16": 120.0}

    monkeypatch.setattr(precision, "rates", rates)
    return asked


def test_bf16_is_for_frozen_weights_where_it_is_faster_and_never_for_tiny(fast_bf16: list[int]) -> None:
    ref = PolicyRef("some/model")
    assert precision.choose(spec("some/model", lora_rank=4), ref).dtype == "bfloat16"
    assert precision.choose(spec("some/model", lora_rank=4), ref).dtype == "bfloat16"
    assert len(fast_bf16) == 1  # then it is kept
    assert precision.choose(spec("some/model"), ref).dtype == "float32"  # every weight is trained
    assert precision.choose(spec("tiny", lora_rank=4), ref).dtype == "float32"
    assert precision.choose(spec("some/model", lora_rank=4, precision="float32"), ref).dtype == "float32"
    assert precision.choose(spec("some/model", precision="bfloat16"), ref).dtype == "bfloat16"


def test_a_run_goes_on_as_it_began(fast_bf16: list[int]) -> None:
    begun = {"start_policy_sha256": "x"}
    assert precision.choose(spec("some/model", lora_rank=4), PolicyRef("m"), begun).dtype == "float32"
    assert precision.choose(spec("some/model"), PolicyRef("m"), {**begun, "precision": "bfloat16"}).dtype == "bfloat16"
    assert not fast_bf16


def test_what_is_slow_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(precision, "rates", lambda: {"float32": 50.0, "bfloat16": 2.0})
    assert precision.fastest() == "float32"
    (tmp_path / "precision.json").write_text("no JSON")  # it is measured again
    assert precision.fastest() == "float32"
    assert json.loads((tmp_path / "precision.json").read_text())


def test_the_measurement_gives_two_positive_rates() -> None:
    assert all(rate > 0 for rate in precision.rates().values())


def test_sampled_and_scored_agree_in_bf16_and_a_checkpoint_is_the_adapter_beside_the_weights(
    saved: Path, tmp_path: Path
) -> None:
    start = PolicyRef(str(saved), dtype="bfloat16")
    policy = load_trainable(start, None, 4, seed=1)
    kinds = {p.dtype for n, p in policy.model.named_parameters() if p.requires_grad}
    assert kinds == {torch.float32}
    assert {p.dtype for n, p in policy.model.named_parameters() if not p.requires_grad} == {torch.bfloat16}
    optimizer = torch.optim.AdamW([p for p in policy.model.parameters() if p.requires_grad], lr=0.05)
    segments = random_segments(policy, 6)
    for _ in range(2):
        (-score(policy.model, segments, pad_id=policy.pad_id).logprobs.sum()).backward()  # type: ignore[no-untyped-call]
        step(optimizer, policy.model, 1.0)
    ref = reference(save_checkpoint(policy, optimizer, tmp_path, 1), start)
    assert (ref.path, ref.dtype) == (str(saved), "bfloat16")
    again = load(ref, seed=1)
    said = _said(policy)
    assert _said(again) == said  # evaluated as it was trained, not rounded into the weights
    with torch.no_grad():
        scored = score(policy.model, segments, pad_id=policy.pad_id).logprobs
        assert torch.equal(score(again.model, segments, pad_id=policy.pad_id).logprobs, scored)
        assert scored.dtype == torch.float32


def _said(policy: CausalPolicy) -> list[tuple[int, ...] | None]:
    dialogues = [Dialogue(str(i), (Message("user", f"{i} times 2", Decode(1.0, 8)),)) for i in range(4)]
    return [turn.ids for turn in policy.speak(dialogues)]


def test_all_but_the_newest_checkpoints_are_removed(tmp_path: Path) -> None:
    for n in (1, 2, 10, 40):
        (tmp_path / f"step-{n:06d}").mkdir()
    prune(tmp_path, 0)
    assert len(list(tmp_path.iterdir())) == 4
    prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000010", "step-000040"]
    prune(tmp_path, 5)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_a_run_that_keeps_one_checkpoint_is_whole_and_reads_again(tmp_path: Path) -> None:
    def run() -> bytes:
        options = {
            "run.steps": 3, "run.prompts_per_step": 4, "run.group_size": 2, "run.eval_prompts": 8,
            "trainer.checkpoint_every": 1, "trainer.keep_checkpoints": 1, "trainer.lora_rank": 2,
        }  # fmt: skip
        loopkit.run("self-grading", arms="loophole", seeds=1, options=options, out=tmp_path, progress=False, jobs=1)
        return (tmp_path / "results.json").read_bytes()

    first, directory = run(), tmp_path / "loophole-s0"
    assert [p.name for p in (directory / "checkpoints").iterdir()] == ["step-000003"]
    assert not (directory / "checkpoints" / "step-000003" / "model.safetensors").exists()
    known = digests.read(directory)
    assert known is not None
    assert not digests.damage(directory, known, lambda name: True, whole=True)
    assert run() == first
