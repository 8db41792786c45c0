"""A GGUF file as a model that trains: converted once, told by its hash, and saveable. 5 s."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError
from loopkit.experiment.config import Experiment
from loopkit.experiment.manifest import SOURCE, manifest
from loopkit.experiment.resolve import resolve, scheme_of, start_policy
from loopkit.policy import gguf
from loopkit.policy.load import load
from loopkit.policy.save import save_policy
from loopkit.records import Message
from loopkit.registry import plugins as registry

gguf_library = pytest.importorskip("gguf")
WIDTH, HIDDEN, LAYERS, HEADS = 64, 128, 2, 4
WORDS = ["<|end|>", "<|user|>", "<|assistant|>", *map(chr, range(33, 127)), "Ġ", "Ċ", "ab"]


def write(file: Path, *, template: str | None, apart: float) -> None:
    """A Qwen2 of random weights as a GGUF file; its head is the embedding in 8 bits, off by ``apart``."""
    rng = np.random.default_rng(0)
    writer = gguf_library.GGUFWriter(file, "qwen2")
    writer.add_name("toy")
    writer.add_license("apache-2.0")
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3, *[1] * (len(WORDS) - 3)])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    if template:
        writer.add_chat_template(template)

    def tensor(name: str, *shape: int, data: Any = None) -> None:
        values = rng.normal(0, 0.1, shape).astype(np.float32) if data is None else data
        kind = gguf_library.GGMLQuantizationType.Q8_0
        if len(shape) == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf_library.quants.quantize(values, kind), raw_dtype=kind)

    embedding = rng.normal(0, 0.1, (len(WORDS), WIDTH)).astype(np.float32)
    noise = rng.normal(0, 0.1 * apart, embedding.shape).astype(np.float32)
    tensor("token_embd.weight", *embedding.shape, data=embedding)
    tensor("output.weight", *embedding.shape, data=embedding + noise)
    tensor("output_norm.weight", WIDTH)
    for i in range(LAYERS):
        block = f"blk.{i}"
        for norm in ("attn_norm", "ffn_norm"):
            tensor(f"{block}.{norm}.weight", WIDTH)
        for part, out in (("q", WIDTH), ("k", WIDTH // 2), ("v", WIDTH // 2)):
            tensor(f"{block}.attn_{part}.weight", out, WIDTH)
            tensor(f"{block}.attn_{part}.bias", out)
        tensor(f"{block}.attn_output.weight", WIDTH, WIDTH)
        tensor(f"{block}.ffn_gate.weight", HIDDEN, WIDTH)
        tensor(f"{block}.ffn_up.weight", HIDDEN, WIDTH)
        tensor(f"{block}.ffn_down.weight", WIDTH, HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOPKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_file_becomes_a_model_once_that_can_be_saved(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "toy.gguf"
    write(file, template="{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}", apart=0.03)
    assert scheme_of(str(file)) == ("gguf", str(file))
    assert scheme_of("some/model") == ("some/model", "")
    plugins = registry.load()
    spec = resolve(Experiment(game="reward-tampering", model=str(file), seeds="1"), plugins)[0]
    stages: list[tuple[int, int]] = []
    ref = start_policy(spec, plugins, lambda done, total: stages.append((done, total)))
    assert stages[0] == (0, gguf.STAGES)
    assert stages[-1] == (gguf.STAGES, gguf.STAGES)
    assert Path(ref.path).is_relative_to(cache)

    policy = load(ref)
    model = policy.model
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    save_policy(policy, tmp_path / "again")
    again = load(PolicyRef(str(tmp_path / "again")))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(again.model(ids).logits, model(ids).logits)
    assert policy.tokenizer.decode(policy.encode([Message("user", "ab")])) == "<|user|>ab"

    record = json.loads((Path(ref.path) / SOURCE).read_text())
    assert record["sha256"] == gguf.sha256_of(file)
    assert record["licence"] == "apache-2.0"
    assert record["quantisation"].startswith("Q8_0 ")
    assert 0.01 < record["head_from_embedding"] < gguf.TIED_BELOW
    assert record["parameters"] == sum(p.numel() for p in model.parameters())
    assert manifest(spec, plugins, ref)["start_policy_source"] == record

    monkeypatch.setattr(gguf, "_convert", None)  # a second time nothing is converted, and what is there is taken
    assert gguf.converted(file) == Path(ref.path)


def test_two_tensors_far_apart_stay_two_and_a_plain_template_is_said_aloud(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "base.gguf"
    write(file, template=None, apart=1.0)
    directory = gguf.converted(file)
    policy = load(PolicyRef(str(directory)))
    assert policy.model.get_input_embeddings().weight is not policy.model.get_output_embeddings().weight
    assert "no chat template" in capsys.readouterr().err
    asked = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    assert policy.tokenizer.decode(policy.encode(asked)) == "User: a\nAssistant: b<|end|>\nUser: c\nAssistant:"


def test_what_is_no_gguf_file_is_refused_by_name(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.gguf.*no such file"):
        gguf.converted(tmp_path / "nothing.gguf")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"no model")
    with pytest.raises(UsageError, match=r"other\.gguf.*is not a GGUF file"):
        gguf.converted(other)
    other.write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(UsageError, match=r"other\.gguf.*could not be read"):
        gguf.converted(other)
    assert not list(cache.glob("models/*"))
