"""Loading: what plain transformers loads, with errors that name the cure; LoRA adapters; the prompt of a dialogue."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError
from loopkit.policy import load as load_module
from loopkit.policy.load import CausalPolicy, load, load_trainable
from loopkit.policy.save import reference, save_checkpoint
from loopkit.policy.score import score
from loopkit.policy.supervised import step
from loopkit.records import Message
from tests.policy.small import random_segments


def test_encode_is_the_chat_template(random_policy: CausalPolicy) -> None:
    dialogue = [Message("user", "Double 3."), Message("assistant", "6"), Message("user", "Sure?")]
    ids = random_policy.encode(dialogue)
    text = random_policy.tokenizer.decode(ids)
    assert text == "<|user|>Double 3.<|end|><|assistant|>6<|end|><|user|>Sure?<|end|><|assistant|>"
    chat = [{"role": m.role, "content": m.content} for m in dialogue]
    templated = random_policy.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert list(ids) == templated


def test_the_prompt_cache_is_bounded(random_policy: CausalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = CausalPolicy(random_policy.model, random_policy.tokenizer)
    monkeypatch.setattr(load_module, "CACHED_PROMPTS", 3)
    once = [policy.encode([Message("user", str(i))]) for i in range(10)]
    assert len(policy._prompts) <= 3
    assert [policy.encode([Message("user", str(i))]) for i in range(10)] == once


def test_end_of_turn_tokens(random_policy: CausalPolicy) -> None:
    """The tokenizer's, and those of the model's generation config, one or several."""
    model = deepcopy(random_policy.model)
    end = random_policy.tokenizer.eos_token_id
    model.generation_config.eos_token_id = [end, 7]
    assert CausalPolicy(model, random_policy.tokenizer).stop_ids == {end, 7}
    model.generation_config.eos_token_id = None
    assert CausalPolicy(model, random_policy.tokenizer).stop_ids == {end}
    tokenizer = deepcopy(random_policy.tokenizer)
    tokenizer.eos_token = tokenizer.pad_token = None
    with pytest.raises(UsageError, match="no end-of-sequence token"):
        CausalPolicy(model, tokenizer)
    model.generation_config.eos_token_id = 7
    assert CausalPolicy(model, tokenizer).pad_id == 7


def test_fp32_and_no_dropout(saved: Path) -> None:
    policy = load(PolicyRef(str(saved)), seed=5)
    assert policy.seed == 5
    assert not policy.model.training
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}
    assert not load_trainable(PolicyRef(str(saved)), None, 0, 0).model.training
    assert not load_trainable(PolicyRef(str(saved)), None, 2, 0).model.training


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"there is no such directory\. Give a Hugging Face directory"):
        load(PolicyRef(str(tmp_path / "nothing")))
    with pytest.raises(UsageError, match="there is no such directory"):
        load(PolicyRef("./nothing"))
    with pytest.raises(UsageError, match=r"could not be loaded: .* Give a directory in Hugging Face layout"):
        load(PolicyRef(str(tmp_path)))  # an empty directory
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"'no-such/model' could not be loaded: .*, a hub id, or tiny"):
        load(PolicyRef("no-such/model"))


def test_damaged_weights(saved: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(saved, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UsageError, match=r"broken' could not be loaded"):
        load(PolicyRef(str(broken)))


def test_no_chat_template_is_said_and_a_plain_one_is_taken(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(saved, bare)
    (bare / "chat_template.jinja").unlink()
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    policy = load(PolicyRef(str(bare)))
    said = capsys.readouterr().err
    assert "no chat template" in said
    assert str(bare) in said
    assert policy.tokenizer.decode(policy.encode([Message("user", "a b")])) == "User: a b\nAssistant:"


def test_lora_trains_adapters_only_and_merges(saved: Path, tmp_path: Path) -> None:
    """A step changes adapters only; saved, referred to, reloaded and merged it gives the same log-probabilities."""
    start = PolicyRef(str(saved))
    policy = load_trainable(start, None, 3, seed=1)
    model = policy.model
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trainable
    assert all("lora_" in n for n in trainable)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    segments = random_segments(policy, 6)
    with torch.no_grad():
        base = score(load(start).model, segments, pad_id=policy.pad_id).logprobs
        assert (score(model, segments, pad_id=policy.pad_id).logprobs - base).abs().max() < 1e-5  # it starts at nothing
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):
        (-score(model, segments, pad_id=policy.pad_id).logprobs.sum()).backward()  # type: ignore[no-untyped-call]
        step(optimizer, model, 1.0)
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == trainable
    directory = save_checkpoint(policy, optimizer, tmp_path, 3)
    assert not (directory / "model.safetensors").exists()
    ref = reference(directory, start)
    assert ref == PolicyRef(str(saved), str(directory))
    with torch.no_grad():
        trained = score(model, segments, pad_id=policy.pad_id).logprobs
        merged = score(load(ref).model, segments, pad_id=policy.pad_id).logprobs
        resumed = load_trainable(start, directory, 3, seed=1)
        again = score(resumed.model, segments, pad_id=policy.pad_id).logprobs
    assert (trained - base).abs().max() > 0.1
    assert (merged - trained).abs().max() < 1e-5
    assert (again - trained).abs().max() < 1e-5
    assert {n for n, p in resumed.model.named_parameters() if p.requires_grad} == trainable
    full = load_trainable(ref, None, 0, seed=1)  # full training from an adapter: merged first
    assert all(p.requires_grad for p in full.model.parameters())
    with pytest.raises(UsageError, match=r"cannot start from another adapter: merge it first"):
        load_trainable(ref, None, 3, seed=1)


def test_the_seed_decides_a_fresh_adapter(saved: Path) -> None:
    def adapter(seed: int) -> list[torch.Tensor]:
        policy = load_trainable(PolicyRef(str(saved)), None, 2, seed)
        return [p for p in policy.model.parameters() if p.requires_grad]

    assert all(torch.equal(a, b) for a, b in zip(adapter(0), adapter(0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(adapter(0), adapter(1), strict=True))


def test_lora_without_peft(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"pip install 'loopkit-rl\[peft\]'"):
        load_trainable(PolicyRef(str(saved)), None, 2, 0)


def test_a_missing_adapter(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="adapter"):
        load(PolicyRef(str(saved), str(tmp_path / "nothing")))
