"""Where in a row the question, the reference and whatever else a reward asks for stand, by their usual names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

PROMPTS = ("prompt", "question", "problem", "query", "instruction", "input", "messages", "conversations", "text")
"""Columns that commonly hold what is asked; the first that is there is used."""
REFERENCES = (
    "reward_model", "answer", "ground_truth", "reference", "solution", "target", "expected", "label", "labels",
    "answers", "expected_answer", "final_answer", "gold", "output", "response", "completion",
)  # fmt: skip
"""Columns that commonly hold what a reply is compared with; the first that is there is used."""
TRUTH = ("ground_truth", "target", "answer", "solution", "text")
"""What a reference is called in a table, the first that is there; "text" as in SQuAD's answers."""
ALIASES = (
    ("answer", "ground_truth", "reference", "solution", "target", "expected", "label", "gold", "expected_answer",
     "final_answer", "correct_answer", "gold_answer", "truth", "answers", "ground_truths", "references", "solutions",
     "targets", "labels", "reference_answer", "ref", "gts", "gt"),
    PROMPTS,
)  # fmt: skip
"""Names of one thing: a reward that asks for one of them is passed another, where the rows have that."""


def first_of(names: Iterable[str], columns: Iterable[str]) -> str:
    """The first of ``names`` among ``columns``; empty where there is none."""
    there = set(columns)
    return next((n for n in names if n in there), "")


def texts(value: Any) -> list[str] | None:
    """A reference as text: a str or number, a list of them, or ``ground_truth`` of a table (or of its JSON).

    JSON in which nothing is called so is a text like any other: a reward may ask for such an object.
    """
    as_it_is = value if isinstance(value, str) else None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    for _ in range(2):  # verl's {"ground_truth": …}, in which a QA set's {"target": [...]}
        if isinstance(value, Mapping):
            value = next((value[k] for k in TRUTH if k in value), as_it_is)
    if hasattr(value, "tolist"):
        value = value.tolist()
    several = value if isinstance(value, (list, tuple)) else [value]
    return [str(v) for v in several if isinstance(v, (str, int, float)) and str(v).strip()] or None


def final(text: str) -> str:
    """The short answer of a worked one: after the last ``####``, in the last ``\\boxed{}``, or the text itself."""
    if "####" in text:
        return text.rsplit("####", 1)[1].strip()
    if boxed := re.findall(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}", text):
        return str(boxed[-1]).strip()
    return text


def asked(row: Row, column: str) -> str:
    """The last thing that a user says in the row's prompt: a text, messages, or messages as JSON."""
    said = conversation(row.get(column))
    return said[-1]["content"] if said else ""


def conversation(prompt: Any) -> list[dict[str, str]]:
    """A prompt as messages; a text is one of the user's. Turns by the assistant at the end are the reply's place."""
    if isinstance(prompt, str):
        try:
            read = json.loads(prompt)
        except json.JSONDecodeError:
            read = None
        prompt = read if isinstance(read, list) and read and all(isinstance(m, dict) for m in read) else prompt
    if hasattr(prompt, "tolist"):
        prompt = prompt.tolist()
    if not isinstance(prompt, (list, tuple)):
        return [{"role": "user", "content": "" if prompt is None else str(prompt)}]
    made = [
        {"role": str(m.get("role", m.get("from", "user"))), "content": str(m.get("content", m.get("value", "")))}
        for m in prompt
        if isinstance(m, Mapping)
    ]
    while len(made) > 1 and made[-1]["role"] in ("assistant", "gpt"):
        made.pop()
    return made


def alias(name: str, columns: Sequence[str]) -> str:
    """The column that holds what a reward calls ``name``: itself, or another usual name of it; empty for none."""
    if name in columns:
        return name
    for group in ALIASES:
        if name in group and (other := first_of(group, columns)):
            return other
    return ""
