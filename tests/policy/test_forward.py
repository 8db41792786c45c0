"""The compact pass is transformers' own to 1e-5: cached, padded, shared, grown; and it is taken only where it is."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from loopkit.policy import cache
from loopkit.policy.decode import Sampling, sample
from loopkit.policy.forward import ROOM, Compact, Ordinary, forward_of, is_compact, pad_left, read_at_once
from loopkit.policy.load import CausalPolicy
from loopkit.policy.lora import add_lora
from loopkit.policy.score import score
from tests.policy.small import Spy, double, random_segments

SIZE: dict[str, Any] = {
    "vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "head_dim": 8, "max_position_embeddings": 64, "initializer_range": 0.1,
}  # fmt: skip


def llama(**other: Any) -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**SIZE, "num_key_value_heads": 4, **other})).eval()


MODELS: dict[str, Callable[[], Any]] = {
    "plain": llama,
    "grouped": lambda: llama(num_key_value_heads=2, rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    "tied, wide heads": lambda: llama(tie_word_embeddings=True, head_dim=16, rms_norm_eps=1e-3),
}


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_compact_is_ordinary(name: str) -> None:
    """Padded prompts, rows repeated and dropped, a block of tokens, then one at a time past the cache's room."""
    model = MODELS[name]()
    assert isinstance(forward_of(model), Compact)
    made = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, 90, (n,), generator=made).tolist() for n in (9, 2, 5)]
    ids, mask, positions = pad_left(prompts, 0, torch.device("cpu"))
    sides = (Compact(model), Ordinary(model))
    compact, ordinary = (side(ids, mask, positions) for side in sides)
    assert compact[0].shape == (3, 90)
    assert (compact[0] - ordinary[0]).abs().max() < 1e-5
    rows = torch.tensor([0, 0, 1, 1, 2])
    mask, position = mask[rows], positions[rows, -1]
    pasts = [side.select(found[1], rows) for side, found in zip(sides, (compact, ordinary), strict=True)]
    keep = torch.rand(5, 3, generator=made) < 0.6
    for width in (3, *[1] * (ROOM + 5)):
        if width == 1 and mask.shape[1] == 20:
            kept = torch.tensor([0, 3, 4])
            mask, position = mask[kept], position[kept]
            pasts = [side.select(past, kept) for side, past in zip(sides, pasts, strict=True)]
        said = torch.randint(3, 90, (len(mask), width), generator=made)
        mask = torch.cat([mask, mask.new_ones(len(mask), width)], 1)
        where = position[:, None] + 1 + torch.arange(width)
        chosen: Any = keep if width == 3 else "last"
        logits = []
        for k, side in enumerate(sides):
            found, pasts[k] = side(said, mask, where, pasts[k], chosen)
            logits.append(found)
        assert len(logits[0]) == (int(keep.sum()) if width == 3 else len(mask))
        assert (logits[0] - logits[1]).abs().max() < 1e-5
        position = position + width
    assert int(position.max()) >= 40


def test_the_bundled_policy_says_the_same_by_either(bundled: CausalPolicy) -> None:
    assert is_compact(bundled.model)
    assert not is_compact(Spy(bundled.model))
    segments = random_segments(bundled, 24)
    rows = [Sampling(s.prompt, 20, 1.0, (i,)) for i, s in enumerate(segments)]
    one, other = (
        sample(m, rows, stop_ids=bundled.stop_ids, pad_id=bundled.pad_id) for m in (bundled.model, Spy(bundled.model))
    )
    assert [(ids, finish) for ids, _, finish in one] == [(ids, finish) for ids, _, finish in other]
    with torch.no_grad():
        scores = [score(m, segments, pad_id=bundled.pad_id) for m in (bundled.model, Spy(bundled.model))]
    assert (scores[0].logprobs - scores[1].logprobs).abs().max() < 1e-5
    assert (scores[0].entropy - scores[1].entropy).abs().max() < 1e-5


def test_gradients_are_compared_on_the_compact_pass(random_policy: CausalPolicy) -> None:
    """What test_score.py and test_grpo.py hold to plain forward passes in float64 is the compact one."""
    assert is_compact(double(random_policy).model)


def test_anything_else_takes_the_ordinary_pass(random_policy: CausalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_compact(Qwen3ForCausalLM(Qwen3Config(**SIZE, num_key_value_heads=4)).eval())
    assert not is_compact(add_lora(deepcopy(random_policy.model), 2))
    for other in (
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    ):
        assert not is_compact(llama(**other))
    assert not is_compact(llama().bfloat16())
    assert not is_compact(llama().train())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not is_compact(llama())
    assert is_compact(llama())
    monkeypatch.setattr("loopkit.policy.forward.COMPACT_BELOW_PARAMETERS", 1000)
    assert not is_compact(llama())


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_the_cache_goes_by_the_name_the_model_gives_it(name: str) -> None:
    """Of transformers from 5.24 on, and before."""
    seen: list[dict[str, Any]] = []

    class Model:
        def __call__(self, **inputs: Any) -> Any:
            seen.append(inputs)
            return SimpleNamespace(logits=torch.zeros(1, 1, 5), **{name: "past"})

        exec(f"def forward(self, input_ids, {name}=None): ...")

    forward = Ordinary(Model())
    one = torch.ones(1, 1, dtype=torch.long)
    _, past = forward(one, one, one)
    assert past == "past"
    assert name not in seen[0]
    forward(one, one, one, past)
    assert seen[1][name] == "past"


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Qwen3"])
def test_logits_of_the_positions_asked_for_are_those_of_all_positions(kind: str, lora: bool) -> None:
    """The head is applied to no other position, and values and gradients are those of transformers' own pass."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SIZE, "num_key_value_heads": 2})
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    model = add_lora(model, 2) if lora else model
    ids, keep = torch.randint(3, 90, (3, 7)), torch.rand(3, 7) < 0.4
    mask, positions = torch.ones(3, 7, dtype=torch.long), torch.arange(7).expand(3, 7)
    rows: list[int] = []
    head = model.get_base_model().lm_head if lora else model.lm_head
    handle = head.register_forward_hook(lambda module, given, out: rows.append(out.shape[:-1].numel()))
    chosen, past = Ordinary(model)(ids, mask, positions, keep=keep)
    handle.remove()
    assert rows == [int(keep.sum())]
    assert past is not None
    whole = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits[keep]
    assert torch.allclose(chosen, whole, atol=1e-5)
    trained = [p for p in model.parameters() if p.requires_grad]
    for a, b in zip(*(torch.autograd.grad(x.square().sum(), trained) for x in (chosen, whole)), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def qwen(**other: Any) -> Any:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**{**SIZE, "num_key_value_heads": 2, **other})).eval()


@pytest.mark.parametrize("tokens", [7, 12, 1000])
@torch.inference_mode()
def test_prompts_read_in_passes_by_length_are_read_as_at_once(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then rows are repeated, dropped, and spoken to past the room of the cache."""
    monkeypatch.setitem(cache.READ, "cpu", tokens)
    model = qwen()
    made = torch.Generator().manual_seed(1)
    prompts = [tuple(torch.randint(3, 90, (n,), generator=made).tolist()) for n in (9, 2, 5, 9, 1, 4)]
    forward = forward_of(model)
    reads = [
        forward.read(prompts, 0, torch.device("cpu")),
        read_at_once(Ordinary(model), prompts, 0, torch.device("cpu")),
    ]
    assert torch.equal(reads[0].mask, reads[1].mask)
    assert torch.equal(reads[0].position, reads[1].position)
    assert (reads[0].logits - reads[1].logits).abs().max() < 1e-5
    rows = torch.tensor([0, 0, 1, 3, 4, 5, 5])
    pasts = [forward.select(read.past, rows) for read in reads]
    mask, position = reads[0].mask[rows], reads[0].position[rows]
    for t in range(cache.ROOM + 5):
        if t == 10:
            kept = torch.tensor([0, 2, 5])
            mask, position = mask[kept], position[kept]
            pasts = [forward.select(past, kept) for past in pasts]
        said = torch.randint(3, 90, (len(mask), 1), generator=made)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        logits = []
        for k in range(2):
            found, pasts[k] = forward(said, mask, position[:, None] + t, pasts[k])
            logits.append(found)
        assert (logits[0] - logits[1]).abs().max() < 1e-5
    assert isinstance(pasts[0].layers[0], cache.Roomy)
    assert pasts[0].layers[0].blocks is not None


@torch.inference_mode()
def test_a_cache_that_holds_a_window_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cache.READ, "cpu", 4)
    model = qwen(use_sliding_window=True, sliding_window=3, max_window_layers=1)
    prompts = [(5, 6, 7, 8, 9), (4,), (3, 5)]
    read = forward_of(model).read(prompts, 0, torch.device("cpu"))
    assert not isinstance(read.past.layers[0], cache.Roomy)
    expected = read_at_once(Ordinary(model), prompts, 0, torch.device("cpu"))
    assert torch.equal(read.logits, expected.logits)


def test_passes_are_of_like_lengths_and_within_their_size() -> None:
    lengths = [30, 3, 29, 4, 31, 2000, 5000]
    batches = list(cache.passes(lengths, torch.device("cpu")))
    assert sorted(i for batch in batches for i in batch) == list(range(7))
    assert batches == [[1, 3, 2, 0, 4], [5], [6]]
