"""The adapter's leaner pass against peft's: values and gradients, merged, switched off, and where it is not taken."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from transformers import Qwen2Config, Qwen2ForCausalLM

from loopkit.policy.lora import _lean, add_lora


def qwen() -> Any:
    torch.manual_seed(0)
    size: dict[str, Any] = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    return Qwen2ForCausalLM(Qwen2Config(**size, num_attention_heads=4, num_key_value_heads=2)).eval()


def both() -> tuple[Any, Any]:
    """(lean, peft's), with the same adapter, which does something."""
    lean = add_lora(qwen(), 3)
    with torch.no_grad():
        for parameter in lean.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.3)
    plain = deepcopy(lean)
    changed = 0
    for layer in plain.modules():
        if type(layer) is Linear:
            changed += layer.__dict__.pop("forward", None) is not None
    assert changed == 14  # seven linear layers in each of two blocks
    return lean, plain


IDS = torch.arange(24).reshape(2, 12) * 7 % 90


def test_values_and_gradients_are_pefts() -> None:
    lean, plain = both()
    logits = [model(IDS).logits for model in (lean, plain)]
    assert (logits[0] - qwen()(IDS).logits).abs().max() > 0.01  # the adapter is seen at all
    assert (logits[0] - logits[1]).abs().max() < 1e-5
    for out in logits:
        out.log_softmax(-1)[..., 5].sum().backward()
    pairs = list(zip(lean.parameters(), plain.parameters(), strict=True))
    assert all((one.grad is None) == (other.grad is None) for one, other in pairs)
    differences = [(one.grad - other.grad).abs().max() for one, other in pairs if one.grad is not None]
    assert len(differences) == 28
    assert max(differences) < 1e-4


def test_in_bf16_the_adapter_stays_in_fp32_and_is_as_near_to_fp32_as_pefts() -> None:
    lean, plain = both()
    exact = lean(IDS).logits.detach()
    for model in (lean, plain):
        for name, parameter in model.named_parameters():
            if "lora" not in name:
                parameter.data = parameter.data.bfloat16()
    logits = [model(IDS).logits for model in (lean, plain)]
    errors = [float((found.detach().float() - exact).abs().mean()) for found in logits]
    assert logits[0].dtype == torch.bfloat16
    assert 0 < errors[0] < 1.5 * errors[1]
    logits[0].float().sum().backward()
    trained = [p for p in lean.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} | {p.grad.dtype for p in trained} == {torch.float32}


def test_off_merged_and_copied_as_pefts() -> None:
    lean, _ = both()
    with lean.disable_adapter():
        assert torch.equal(lean(IDS).logits, qwen()(IDS).logits)
    beside, copied = lean(IDS).logits, deepcopy(lean)
    with torch.no_grad():
        next(p for p in copied.parameters() if p.requires_grad).add_(1)
    assert torch.equal(lean(IDS).logits, beside)  # the copy computes with its own weights
    assert not torch.equal(copied(IDS).logits, beside)
    assert (lean.merge_and_unload()(IDS).logits - beside).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft's use of transformers
@pytest.mark.parametrize("other", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}])
def test_other_kinds_of_adapter_keep_pefts_own_pass(other: dict[str, Any]) -> None:
    model = _lean(get_peft_model(qwen(), LoraConfig(r=2, target_modules=["q_proj"], **other)))
    assert all("forward" not in vars(layer) for layer in model.modules())
