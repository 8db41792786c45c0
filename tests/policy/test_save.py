"""Checkpoints: Hugging Face layout, whole or not at all, and the optimizer's state with them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from loopkit.contracts import PolicyRef
from loopkit.errors import RunError
from loopkit.policy import save
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.score import score
from loopkit.policy.supervised import step
from loopkit.records import Message
from tests.policy.small import random_segments


def files(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def learn(policy: CausalPolicy, optimizer: torch.optim.Optimizer, seed: int) -> None:
    segments = random_segments(policy, 6, seed)
    (-score(policy.model, segments, pad_id=policy.pad_id).logprobs.mean()).backward()  # type: ignore[no-untyped-call]
    step(optimizer, policy.model, 1.0)


def adamw(policy: CausalPolicy) -> torch.optim.Optimizer:
    return torch.optim.AdamW(policy.model.parameters(), lr=1e-2, weight_decay=0.1)


def test_round_trip_is_byte_identical(random_policy: CausalPolicy, bundled: CausalPolicy, tmp_path: Path) -> None:
    for k, policy in enumerate((random_policy, bundled)):
        once, twice = tmp_path / f"once{k}", tmp_path / f"twice{k}"
        save.save_policy(policy, once)
        save.save_policy(load(PolicyRef(str(once))), twice)
        assert files(once) == files(twice)
        assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= files(once).keys()


def test_plain_transformers_loads_it(random_policy: CausalPolicy, saved: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(saved), AutoTokenizer.from_pretrained(saved)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Double 3."}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert tuple(inputs["input_ids"][0].tolist()) == random_policy.encode([Message("user", "Double 3.")])
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, random_policy.model(**inputs).logits)
    assert tokenizer.eos_token_id == random_policy.tokenizer.eos_token_id
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_half_written_checkpoints_are_ignored_and_removed(
    random_policy: CausalPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert save.latest_checkpoint(tmp_path / "nothing") is None
    assert save.latest_checkpoint(tmp_path) is None
    policy = CausalPolicy(deepcopy(random_policy.model), random_policy.tokenizer)
    optimizer = adamw(policy)
    learn(policy, optimizer, 0)
    for k in (2, 10):
        assert save.save_checkpoint(policy, optimizer, tmp_path, k) == tmp_path / f"step-{k:06d}"

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(save, "_optimizer_state", killed)
    with pytest.raises(KeyboardInterrupt):
        save.save_checkpoint(policy, optimizer, tmp_path, 12)
    half = tmp_path / ".tmp-step-000012"
    assert (half / "model.safetensors").exists()
    (tmp_path / "notes").mkdir()
    assert save.latest_checkpoint(tmp_path) == (10, tmp_path / "step-000010")
    assert not half.exists()


def test_a_checkpoint_is_replaced_whole(random_policy: CausalPolicy, tmp_path: Path) -> None:
    policy = CausalPolicy(deepcopy(random_policy.model), random_policy.tokenizer)
    optimizer = adamw(policy)
    directory = save.save_checkpoint(policy, optimizer, tmp_path, 1)
    (directory / "stray").write_text("x")
    learn(policy, optimizer, 0)
    save.save_checkpoint(policy, optimizer, tmp_path, 1)
    assert not (directory / "stray").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


def test_the_optimizer_goes_on_where_it_was(random_policy: CausalPolicy, tmp_path: Path) -> None:
    """The next step after a round trip is the same to the bit; without the moments it is another."""
    policy = CausalPolicy(deepcopy(random_policy.model), random_policy.tokenizer)
    optimizer = adamw(policy)
    for k in range(3):
        learn(policy, optimizer, k)
    directory = save.save_checkpoint(policy, optimizer, tmp_path, 3)
    learn(policy, optimizer, 3)
    resumed, forgetful = load(PolicyRef(str(directory))), load(PolicyRef(str(directory)))
    restored = adamw(resumed)
    save.load_optimizer(resumed.model, restored, directory)
    learn(resumed, restored, 3)
    learn(forgetful, adamw(forgetful), 3)

    def equal(other: CausalPolicy) -> bool:
        return all(torch.equal(a, b) for a, b in zip(policy.model.parameters(), other.model.parameters(), strict=True))

    assert equal(resumed)
    assert not equal(forgetful)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing"])
def test_a_damaged_optimizer_file_is_named(random_policy: CausalPolicy, tmp_path: Path, damage: str) -> None:
    policy = CausalPolicy(deepcopy(random_policy.model), random_policy.tokenizer)
    optimizer = adamw(policy)
    learn(policy, optimizer, 0)
    path = save.save_checkpoint(policy, optimizer, tmp_path, 4) / save.OPTIMIZER
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:1000] if damage == "truncated" else b"garbage")
    with pytest.raises(RunError, match=r"step-000004/optimizer\.safetensors cannot be read .* run the same command"):
        save.load_optimizer(policy.model, optimizer, path.parent)


def test_reference_of_a_full_checkpoint(tmp_path: Path) -> None:
    assert save.reference(tmp_path, PolicyRef("start")) == PolicyRef(str(tmp_path))


def test_what_else_a_trainer_keeps_is_part_of_the_checkpoint(random_policy: CausalPolicy, tmp_path: Path) -> None:
    def more(directory: Path) -> None:
        (directory / "critic").mkdir()
        (directory / "critic" / "notes").write_text("kept")

    policy = CausalPolicy(deepcopy(random_policy.model), random_policy.tokenizer)
    path = save.save_checkpoint(policy, adamw(policy), tmp_path, 1, more)
    assert save.latest_checkpoint(tmp_path) == (1, path)
    (path / "critic" / "notes").write_text("changed")
    assert save.damage(path) == "critic/notes is not what was saved"
