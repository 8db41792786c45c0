"""How a policy is asked, in evaluation: its chat template, a plain transcript, or a request to think first."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from loopkit.contracts import Policy
from loopkit.experiment.config import Condition
from loopkit.policy.load import CausalPolicy
from loopkit.records import Decode, Dialogue, Message, Turn

THINK = (
    'Think step by step first. When you are done, write a line that holds nothing but "ANSWER:", and below it only '
    "your answer."
)
"""Added to the last message. The game sees what stands below the last such line."""
THOUGHT_TOKENS = 256
"""Allowed on top of the answer's own limit."""
ANSWER = re.compile(r"^\s*\W{0,3}ANSWER\W{0,3}\s*$", re.MULTILINE | re.IGNORECASE)
NEXT_SPEAKER = re.compile(r"\n(?:User|Assistant|System):")


def under(policy: CausalPolicy, condition: Condition) -> Policy:
    """The policy asked in this way."""
    if condition == "base":
        return Plain(policy.model, policy.tokenizer, seed=policy.seed, batch_rows=policy.batch_rows)
    return Thinking(policy) if condition == "chain-of-thought" else policy


class Plain(CausalPolicy):
    """Without a chat template: a transcript of speakers and colons, which ends where another would speak."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        lines = [f"{m.role.capitalize()}: {m.content}\n" for m in messages]
        return tuple(self.tokenizer("".join(lines) + "Assistant:", add_special_tokens=True).input_ids)

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        return [
            dataclasses.replace(turn, text=NEXT_SPEAKER.split(turn.text, maxsplit=1)[0].strip())
            for turn in super().speak(dialogues)
        ]


class Thinking:
    """Asks for thoughts before the answer. A thought that never reaches its answer said nothing."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        turns = self.policy.speak([_asked(d) for d in dialogues])
        return [_thought(turn) for turn in turns]


def answer(text: str) -> str:
    """What stands below the last line "ANSWER:", or nothing."""
    parts = ANSWER.split(text)
    return parts[-1].strip() if len(parts) > 1 else ""


def _thought(turn: Turn) -> Turn:
    """The turn with all that stands above its answer among its thoughts."""
    below = answer(turn.text)
    above = turn.said.rstrip().removesuffix(below)
    return dataclasses.replace(turn, text=below, thoughts=above)


def _asked(dialogue: Dialogue) -> Dialogue:
    last = dialogue.messages[-1]
    decode = last.decode or Decode()
    more = dataclasses.replace(decode, max_tokens=decode.max_tokens + THOUGHT_TOKENS)
    question = dataclasses.replace(last, content=f"{last.content}\n\n{THINK}", decode=more)
    return Dialogue(dialogue.key, (*dialogue.messages[:-1], question))
