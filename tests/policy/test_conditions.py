"""Prompt conditions: what a policy is asked, and what of its words the game sees."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from loopkit.contracts import PolicyRef
from loopkit.policy.conditions import THOUGHT_TOKENS, Plain, Thinking, answer, under
from loopkit.policy.load import load
from loopkit.policy.tiny import BUNDLED
from loopkit.records import Decode, Dialogue, Message, Turn

ASKED = Dialogue("k", (Message("user", "What is 2 + 2?", Decode(0.7, 8)),))


class Scripted:
    def __init__(self, *texts: str) -> None:
        self.texts, self.seen = texts, list[Dialogue]()

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        self.seen += dialogues
        return [Turn(text) for text in self.texts]


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("2 and 2.\nANSWER:\n4", "4"),
        ("**Answer:**\n 4 \n", "4"),
        ("ANSWER:\nno\nwait\nANSWER:\nyes", "yes"),
        ("I think 4", ""),
        ("The answer: 4", ""),
        ("thought\nANSWER:", ""),
    ],
)
def test_the_game_sees_what_stands_below_the_last_answer_line(said: str, seen: str) -> None:
    assert answer(said) == seen


def test_thinking_asks_for_thoughts_and_allows_them_tokens() -> None:
    policy = Scripted("hm\nANSWER:\n4")
    (turn,) = Thinking(policy).speak([ASKED])
    assert turn.text == "4"
    (asked,) = policy.seen
    assert asked.key == "k"
    assert asked.messages[0].content.startswith("What is 2 + 2?\n\nThink step by step")
    assert asked.messages[0].decode == Decode(0.7, 8 + THOUGHT_TOKENS)


def test_plain_is_a_transcript_that_ends_where_another_would_speak() -> None:
    policy = under(load(PolicyRef(str(BUNDLED))), "base")
    assert isinstance(policy, Plain)
    shown = policy.tokenizer.decode(policy.encode(ASKED.messages))
    assert shown.replace(" ", "").endswith("User:What is 2 + 2?\nAssistant:".replace(" ", ""))
    (turn,) = policy.speak([ASKED])
    assert "\nUser:" not in turn.text


def test_instruct_is_the_policy_itself() -> None:
    policy = load(PolicyRef(str(BUNDLED)))
    assert under(policy, "instruct") is policy
