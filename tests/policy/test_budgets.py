"""Thoughts with a budget of their own: closed where it ends, marked, and not learnt from. About 5 CPU seconds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from loopkit.contracts import PolicyRef
from loopkit.policy.budgets import Budget, Said, speak
from loopkit.policy.decode import Sampled, Sampling
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.score import Segment, score
from loopkit.policy.tiny import BUNDLED
from loopkit.records import Decode, Dialogue, Message, Turn
from loopkit.rollouts.thoughts import opened, part, parted

WORDS = ["<think>", "</think>", "a", "b", "c", "\n\n", "<r>", "</r>"]


class Scripted:
    """Says the words of a script, a token each, and goes on where it was cut."""

    def __init__(self, script: str, stops: bool = True) -> None:
        self.script, self.stops = [WORDS.index(w) for w in script.split()], stops

    def __call__(self, rows: Sequence[Sampling]) -> list[Sampled]:
        out: list[Sampled] = []
        for row in rows:
            at = len([i for i in row.prompt if i >= 0 and i != WORDS.index("\n\n")]) - self.skipped(row.prompt)
            ids = [*self.script[at:], *([99] if self.stops else [2] * 50)][: row.max_tokens]
            out.append((ids, [-1.0] * len(ids), "stop" if ids and ids[-1] == 99 else "length"))
        return out

    def skipped(self, prompt: Sequence[int]) -> int:
        """Tokens of the prompt that were put in: a closing marker that the script does not have there."""
        said = [i for i in prompt if i >= 0 and i != WORDS.index("\n\n")]
        return int(said != self.script[: len(said)])


def text(ids: Sequence[int]) -> str:
    return "".join(WORDS[i] for i in ids)


def encode(said: str) -> list[int]:
    return [WORDS.index(w) for w in (said.removesuffix("\n\n"), "\n\n")]


def spoken(script: str, thoughts: int, answer: int, closes: str | None = None, stops: bool = True) -> Said:
    row = Sampling((-1, -1), answer, 1.0, ("k",))
    (one,) = speak([row], [Budget(thoughts, closes, ("<r>", "</r>"))], Scripted(script, stops), text, encode)
    return one


@pytest.mark.parametrize(
    ("script", "thoughts", "answer", "said", "finish", "inserted"),
    [
        ("<think> a a </think> b b", 10, 5, "<think>aa</think>bb", "stop", (6, 6)),  # neither budget ends
        ("<think> a a </think> b b", 4, 1, "<think>aa</think>b", "length", (4, 4)),  # the answer's does
        ("<think> a a </think> b b", 5, 1, "<think>aa</think>b", "length", (5, 5)),
        ("<think> a a a a a", 3, 2, "<think>aa</think>\n\naa", "length", (3, 5)),  # the thoughts' does
        ("<think> a a", 9, 2, "<think>aa", "stop", (4, 4)),  # it stops among its thoughts
        ("b b b b b b", 4, 2, "bb", "length", (2, 2)),  # no thoughts: the answer's budget holds
        ("b b b b b b", 2, 4, "bbbb", "length", (2, 2)),
        ("<r> a </r> c c c", 3, 2, "<r>a</r>cc", "length", (3, 3)),  # markers by option
        ("<r> a a a a", 2, 1, "<r>a</r>\n\na", "length", (2, 4)),
    ],
)
def test_each_part_has_its_own_budget(
    script: str, thoughts: int, answer: int, said: str, finish: str, inserted: tuple[int, int]
) -> None:
    one = spoken(script, thoughts, answer)
    ids = one.ids[:-1] if one.finish == "stop" else one.ids
    assert (text(ids), one.finish) == (said, finish)
    assert one.inserted is not None
    assert one.inserted[1] - one.inserted[0] == inserted[1] - inserted[0]
    assert len(one.logprobs) == len(one.ids)
    assert all(p == 0.0 for p in one.logprobs[slice(*one.inserted)])
    assert all(p == -1.0 for i, p in enumerate(one.logprobs) if not one.inserted[0] <= i < one.inserted[1])


def test_a_block_that_the_prompt_opened() -> None:
    assert text(spoken("a a a a a", 2, 1, "</think>").ids) == "aa</think>\n\na"
    assert text(spoken("a </think> b b b", 4, 2, "</think>").ids) == "a</think>bb"


def test_a_row_without_a_budget_is_sampled_in_one_go() -> None:
    (one,) = speak([Sampling((-1,), 3, 1.0, ("k",))], [None], Scripted("b b b b b"), text, encode)
    assert one == Said((3, 3, 3), (-1.0,) * 3, "length", None)


def test_markers_by_option() -> None:
    own = ("<reason>", "</reason>")
    assert part("<reason>a</reason>b", None, own) == ("<reason>a</reason>", "b")
    assert part("<reason>a</reason>b") == ("", "<reason>a</reason>b")
    assert part("<think>a</think>b", None, own) == ("<think>a</think>", "b")
    assert opened("assistant: <reason>\n", own) == "</reason>"
    assert parted(Turn("<reason>a"), own) == Turn("", thoughts="<reason>a")


@pytest.fixture(scope="module")
def tiny() -> CausalPolicy:
    policy = load(PolicyRef(str(BUNDLED)))
    assert isinstance(policy, CausalPolicy)
    return policy


def test_tiny_is_made_to_answer(tiny: CausalPolicy) -> None:
    """A prompt that opens thoughts which tiny never closes: text, ids and mask agree, whatever else is in the batch."""
    template = tiny.tokenizer.chat_template
    tiny.tokenizer.chat_template = template.replace("<|assistant|>{% endif", "<|assistant|><think>{% endif")
    try:
        decode = Decode(5.0, 6, thought_tokens=2)  # warm enough not to end at once
        dialogues = [Dialogue(f"d{i}", (Message("user", f"Solve: {i}2 + 3", decode),)) for i in range(6)]
        turns = tiny.speak(dialogues)
        (alone,) = tiny.speak(dialogues[2:3])
        assert (alone.ids, alone.inserted) == (turns[2].ids, turns[2].inserted)
    finally:
        tiny.tokenizer.chat_template = template
        tiny._prompts.clear()
    cut = [t for t in turns if t.inserted and t.inserted[0] < t.inserted[1]]
    assert cut
    for turn in cut:
        assert turn.ids is not None
        assert turn.inserted is not None
        assert turn.inserted[0] == 2
        assert turn.thoughts is not None
        assert "</think>\n\n" in turn.thoughts
        ids = turn.ids[:-1] if turn.finish == "stop" else turn.ids
        assert turn.said == tiny.tokenizer.decode(ids, skip_special_tokens=True)
        assert len(turn.ids) <= turn.inserted[1] + 6


def test_nothing_is_learnt_from_what_was_put_in(tiny: CausalPolicy) -> None:
    prompt, ids = (5, 6, 7), (20, 21, 22, 23, 24)
    plain = score(tiny.model, [Segment(prompt, ids)], pad_id=tiny.pad_id)
    masked = score(tiny.model, [Segment(prompt, ids, inserted=(1, 3)), Segment(prompt, ids[:2])], pad_id=tiny.pad_id)
    assert masked.mask.tolist() == [[1, 0, 0, 1, 1], [1, 1, 0, 0, 0]]
    assert masked.logprobs[0, 1:3].tolist() == [0, 0]
    torch.testing.assert_close(masked.logprobs[0, [0, 3, 4]], plain.logprobs[0, [0, 3, 4]])
    assert Segment(prompt, ids, inserted=(1, 3)).sampled == 3
    masked.logprobs[0, 1:3].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in tiny.model.parameters())
