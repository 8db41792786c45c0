"""Supervised learning: which tokens, which gradient."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from loopkit.errors import RunError
from loopkit.policy.load import CausalPolicy
from loopkit.policy.supervised import backward, segments, step
from loopkit.records import Dialogue, Message
from tests.policy.small import double, gradients, random_segments, same

TWO_TURNS = Dialogue(
    "k",
    (Message("user", "Double 3."), Message("assistant", "6"), Message("user", "Sure?"), Message("assistant", "Yes")),
)
ONE_TURN = Dialogue("l", (Message("user", "Double 1000."), Message("assistant", "2000")))


def test_segments_are_the_assistants_turns(random_policy: CausalPolicy) -> None:
    first, second = segments(random_policy, TWO_TURNS)
    decode = random_policy.tokenizer.decode
    assert (decode(first.prompt), decode(first.ids)) == ("<|user|>Double 3.<|end|><|assistant|>", "6<|end|>")
    assert decode(second.prompt) == decode((*first.prompt, *first.ids)) + "<|user|>Sure?<|end|><|assistant|>"
    assert decode(second.ids) == "Yes<|end|>"
    assert segments(random_policy, Dialogue("m", (Message("user", "?"),))) == []


def test_thoughts_are_learned_where_they_were_had_and_not_shown_later(random_policy: CausalPolicy) -> None:
    asked, said = Message("user", "Solve: 1 + 2"), Message("assistant", "<think>add</think>3")
    dialogue = Dialogue("k", (asked, said, Message("user", "Sure?"), Message("assistant", "yes")))
    first, second = segments(random_policy, dialogue)
    assert random_policy.tokenizer.decode(first.ids, skip_special_tokens=True) == "<think>add</think>3"
    assert second.prompt == random_policy.encode([asked, Message("assistant", "3"), Message("user", "Sure?")])


@pytest.mark.parametrize("budget", [10**6, 30])
def test_only_assistant_tokens_are_trained(random_policy: CausalPolicy, budget: int) -> None:
    """The gradient is that of a masked cross-entropy over the whole dialogues, whatever the micro-batches."""
    policy = double(random_policy)
    batch = [s for d in (TWO_TURNS, ONE_TURN) for s in segments(policy, d)]
    loss = backward(policy, batch, token_budget=budget, weight=0.5)
    found = gradients(policy.model)
    nll, tokens = torch.zeros((), dtype=torch.float64), 0
    marker = policy.tokenizer.convert_tokens_to_ids("<|assistant|>")
    for dialogue in (TWO_TURNS, ONE_TURN):
        chat = [{"role": m.role, "content": m.content} for m in dialogue.messages]
        ids = policy.tokenizer.apply_chat_template(chat, return_dict=False)
        speaking, labels = False, []
        for token in ids:
            labels.append(token if speaking else -100)
            speaking = token == marker or (speaking and token != policy.tokenizer.eos_token_id)
        tokens += sum(label != -100 for label in labels)
        logits = policy.model(input_ids=torch.tensor([ids])).logits[0, :-1]
        nll = nll + torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), reduction="sum")
    mean = nll / tokens
    (0.5 * mean).backward()  # type: ignore[no-untyped-call]
    assert loss.tokens == tokens
    assert loss.value == pytest.approx(mean.item(), abs=1e-10)
    assert same(found, gradients(policy.model), 1e-10)


def test_step_clips_and_clears(random_policy: CausalPolicy) -> None:
    model = deepcopy(random_policy.model)
    before = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.full_like(p, 3.0)
    size = sum(p.numel() for p in model.parameters())
    norm = step(torch.optim.SGD(model.parameters(), lr=1.0), model, 0.5)
    assert norm == pytest.approx(3.0 * size**0.5, rel=1e-5)
    moved = torch.cat([(a.detach() - b).flatten() for a, b in zip(model.parameters(), before, strict=True)])
    assert float(moved.norm()) == pytest.approx(0.5, rel=1e-3)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_the_run(random_policy: CausalPolicy, value: float) -> None:
    """Before the weights are touched."""
    model = deepcopy(random_policy.model)
    before = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.full_like(p, value)
    with pytest.raises(RunError, match=r"the policy diverged\. Lower the learning rate"):
        step(torch.optim.AdamW(model.parameters()), model, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_an_empty_batch_changes_nothing(random_policy: CausalPolicy) -> None:
    model = deepcopy(random_policy.model)
    policy = CausalPolicy(model, random_policy.tokenizer)
    before = [p.detach().clone() for p in model.parameters()]
    assert backward(policy, [], token_budget=100).value == 0.0
    assert step(torch.optim.AdamW(model.parameters()), model, 1.0) == 0.0
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    assert backward(policy, random_segments(policy, 3), token_budget=100).value > 0
