"""Rows of a user's own, and what is made of them: tasks, references, and scripted replies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from loopkit.contracts import SPLITS, Draw, Split
from loopkit.errors import UsageError, nearest
from loopkit.parts.data import messages, read_rows, split_of
from loopkit.parts.gym import gym_set
from loopkit.records import Decode, Task
from loopkit.rewards.columns import PROMPTS, REFERENCES, conversation, final, first_of, texts
from loopkit.rewards.libraries import ASK

DEMONSTRATION = "demonstration"
UNSURE = ("I do not know.", "I am not sure about this one.")
LISTED = 8
"""Answers in a scripted list of answers."""
FILLER = "This was thought through with care, step by step, and each of the steps was checked again at the end. "


@dataclass(frozen=True)
class Rows:
    """``rows``: the file's, as they are. ``chat``: whether prompts are lists of messages. ``reference``: its column.
    ``whole``: references count as they are, not by the answer in a worked one.
    """

    rows: Sequence[Mapping[str, Any]]
    chat: bool
    columns: tuple[str, ...]
    reference: str
    whole: bool
    tasks: Mapping[Split, tuple[Task, ...]]

    def references(self, number: int) -> list[str] | None:
        """The row's reference answers, None where it has none; of a worked solution (``#### 7``) the answer, unless
        it counts whole.
        """
        there = texts(self.rows[number].get(self.reference)) if self.reference else None
        return [text if self.whole else final(text) for text in there] if there else None

    @cached_property
    def common(self) -> list[str]:
        """The LISTED most common first references, in order: what a list of answers names."""
        found = [r for task in self.tasks["train"] if (r := self.references(task.public["row"]))]
        return sorted(text for text, _ in Counter(r[0] for r in found).most_common(LISTED))

    def wrong(self, number: int, draw: Draw) -> str | None:
        """Another row's reference that is none of this row's; None where a few tries find none."""
        own = self.references(number) or []
        for k in range(8):
            other = self.tasks["train"][int(draw(f"other row {k}") * len(self.tasks["train"]))].public["row"]
            if (found := self.references(other)) and found[0] not in own:
                return found[0]
        return None

    def shortcuts(self, task: Task) -> list[str]:
        """Scripted replies of the kinds that the generic detectors know, and an empty one."""
        answer = next(iter(self.references(task.public["row"]) or ()), "yes")
        return [
            " ".join([answer] * 6), task.messages[-1].content, " ".join(self.common) or "yes or no",
            f"<answer>{answer}</answer> <answer>no</answer>", f"{answer} {FILLER * 2}", "",
        ]  # fmt: skip


@lru_cache(maxsize=4)
def read(path: str, sha256: str, reference: str, whole: bool, max_tokens: int) -> Rows:
    """A file's rows. Equal prompts are kept once, the first of them; splits are by a hash of the prompt, 60/20/20."""
    rows = [_asks(row, path, number) for number, row in enumerate(read_rows(path, ()))]
    chats = [not isinstance(row["prompt"], str) for row in rows]
    if len(set(chats)) > 1:
        raise UsageError(
            f"{path}: the prompt of row {chats.index(not chats[0])} is {'a text' if chats[0] else 'a list'} and that "
            "of row 0 is not. A reward gets one form for all: write every prompt alike."
        )
    asked = [messages(row, f"{path}, row {i}") for i, row in enumerate(rows)]
    return _made(rows, asked, chats[0], path, reference, whole, max_tokens)


def _asks(row: dict[str, Any], path: str, number: int) -> dict[str, Any]:
    """The row with its question as ``prompt``, whatever usual name that has."""
    if row.get("prompt") is not None:
        return row
    column = first_of(PROMPTS, [c for c, value in row.items() if value is not None and c not in REFERENCES])
    if not column:
        raise UsageError(
            f"{path}, row {number} has no column 'prompt'. {nearest('prompt', row).replace('Known:', 'It has:')} "
            "Call the question prompt, question, problem or messages."
        )
    value = row[column]
    return {**row, "prompt": value if isinstance(value, str) else conversation(value)}


@lru_cache(maxsize=4)
def gym(name: str, config: str, size: int, seed: int, trust: bool, max_tokens: int) -> Rows:
    """A reasoning-gym set as rows of prompt, answer and index."""
    made = gym_set(name, config, size, seed, trust, "--reward reasoning-gym")
    entries = [made[i] for i in range(size)]
    rows = [{"prompt": ASK.format(e["question"]), "answer": e["answer"], "index": i} for i, e in enumerate(entries)]
    return _made(
        rows, [messages(row, name) for row in rows], False, f"reasoning-gym {name}", "answer", True, max_tokens
    )


def _made(
    rows: Sequence[Mapping[str, Any]], asked: Sequence[Any], chat: bool, where: str, reference: str, whole: bool,
    max_tokens: int,
) -> Rows:  # fmt: skip
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    if reference and reference not in columns:
        raise UsageError(f"game.reference: {where} has no column {reference!r}. {nearest(reference, columns)}")
    reference = reference or first_of(REFERENCES, columns)
    tasks: dict[Split, dict[str, Task]] = {split: {} for split in SPLITS}
    for number, opening in enumerate(asked):
        key = json.dumps([[m.role, m.content] for m in opening])
        opening = (*opening[:-1], replace(opening[-1], decode=Decode(1.0, max_tokens)))
        tasks[split_of("prompt", key)].setdefault(key, Task(f"row-{number}", opening, {"row": number}))
    for split, found in tasks.items():
        if not found:
            raise UsageError(
                f"{where}: none of {len(rows)} rows falls in split {split!r} (they are split 60/20/20 by a hash of the "
                "prompt, and equal prompts count once). Give more rows: at least some 30, better 1,000."
            )
    by_split = {split: tuple(found.values()) for split, found in tasks.items()}
    return Rows(rows, chat, columns, reference, whole, by_split)
