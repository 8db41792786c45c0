"""Parts of a logged row: texts, messages, references, numbers, whatever their types."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from loopkit.records import Json, Message

TEXTS = ("text", "input_text", "output_text", "refusal")
"""Types of a message's parts that are text."""


class Unusable(Exception):
    """A row that is no logged dialogue; says why."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One logged dialogue. ``between`` (T - 1,) is what was answered to the turns ``said`` (T,), but the last.

    ``thoughts`` (T,) is the reasoning that a log keeps apart from each turn, "" where there is none.
    """

    where: str
    prompt: tuple[Message, ...] | None
    said: tuple[str, ...]
    between: tuple[str, ...] = ()
    step: int | None = None
    references: tuple[str, ...] | None = None
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    thoughts: tuple[str, ...] = ()
    unit: str | None = None
    """The problem it is a sample of, where the log names it."""
    row: Mapping[str, Json] | None = None
    """All that stands in its row, where that was asked for (``read(..., whole=True)``)."""

    @property
    def cluster(self) -> str:
        """Its problem, or its prompt; a dialogue without either is a cluster of its own."""
        if self.unit is not None:
            return f"id {self.unit}"
        return self.where if self.prompt is None else json.dumps([[m.role, m.content] for m in self.prompt])


class Turns(NamedTuple):
    """(T,) what the model said, (T - 1,) what was answered between, and (T,) its reasoning."""

    said: tuple[str, ...]
    between: tuple[str, ...]
    thoughts: tuple[str, ...]


def logged(where: str, prompt: tuple[Message, ...] | None, turns: Turns, **more: Any) -> Logged:
    """A dialogue of these turns; ``more`` are other fields of it."""
    return Logged(where, prompt, turns.said, turns.between, thoughts=turns.thoughts, **more)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One message of a dialogue; ``of_model`` by its role, if it is not said."""

    role: str
    text: str
    thoughts: str = ""
    of_model: bool | None = None

    @property
    def by_model(self) -> bool:
        return self.role in ("assistant", "agent", "ai", "model", "gpt") if self.of_model is None else self.of_model


def text_of(content: Json) -> str:
    """The text of a message: as it is, or its parts that are text; what no file can hold becomes U+FFFD."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") in TEXTS]
        content = "\n".join(p for p in parts if isinstance(p, str))
    if not isinstance(content, str):
        raise Unusable(f"a message's content is {kind_of(content)}, not text")
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def prompt_of(value: Json) -> tuple[Message, ...] | None:
    """Messages, those as a JSON string, or plain text (one user message)."""
    if value is None:
        return None
    if isinstance(value, str):
        if value.startswith("[") and '"role"' in value[:200]:
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return (Message("user", text_of(value)),)
        else:
            return (Message("user", text_of(value)),)
    if not isinstance(value, list) or not all(isinstance(m, dict) and "role" in m for m in value):
        raise Unusable(f"prompt is {kind_of(value)}, neither text nor messages")
    return tuple(Message(str(m["role"]), text_of(m.get("content"))) for m in value)


def turns_of(value: Json) -> Turns:
    """The turns of a completion: text, or messages."""
    if isinstance(value, str):
        return Turns((text_of(value),), (), ("",))
    if isinstance(value, list) and all(isinstance(m, dict) and "role" in m for m in value):
        return opening_and_turns([spoken(m) for m in value], 0)[1]
    raise Unusable(f"completion is {kind_of(value)}, neither text nor messages")


def spoken(message: Mapping[str, Json]) -> Spoken:
    """A chat message of any library: its text with its tool calls, and its reasoning."""
    text = text_of(message.get("content"))
    calls: list[Json] = list(message.get("tool_calls") or [])
    if isinstance(message.get("function_call"), dict):
        calls.append(message["function_call"])
    text = "\n".join([*([text] if text else []), *map(call_text, calls)])
    return Spoken(str(message.get("role", "")), text, reasoning_of(message))


def opening_and_turns(dialogue: Sequence[Spoken], first: int | None = None) -> tuple[tuple[Message, ...] | None, Turns]:
    """A dialogue, parted at its first turn of the model (or at ``first``): the prompt, and the turns from there on.

    Messages of the model that follow one another are one turn: a library may write reasoning, text and calls apart.
    """
    if first is None:
        first = next((k for k, m in enumerate(dialogue) if m.by_model), len(dialogue))
    said: list[str] = []
    thoughts: list[str] = []
    between: list[str] = []
    waiting: list[str] = []
    before = False
    for one in dialogue[first:]:
        if not one.by_model:
            waiting.append(one.text)
        elif before:
            said[-1] = "\n".join(t for t in (said[-1], one.text) if t)
            thoughts[-1] = "\n".join(t for t in (thoughts[-1], one.thoughts) if t)
        else:
            if said:
                between.append("\n".join(waiting))
            said.append(one.text)
            thoughts.append(one.thoughts)
            waiting = []
        before = one.by_model
    if not said:
        raise Unusable("the completion holds no reply of a model")
    prompt = tuple(Message(m.role, m.text) for m in dialogue[:first])
    return prompt or None, Turns(tuple(said), tuple(between), tuple(thoughts))


def call_text(call: Mapping[str, Json]) -> str:
    """A tool call as text: its name, then each argument as it was given."""
    inner = call.get("function")
    inner = inner if isinstance(inner, dict) else {"name": inner, **call} if isinstance(inner, str) else call
    name = inner.get("name") or inner.get("function_name") or inner.get("type") or "tool"
    arguments = inner.get("arguments", inner.get("input", inner.get("parameters")))
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError, RecursionError):  # where it is no JSON it is shown as it is
            arguments = json.loads(arguments)
    if isinstance(arguments, dict):
        shown = "\n".join(f"{k}: {v if isinstance(v, str) else json.dumps(v)}" for k, v in arguments.items())
    else:
        shown = "" if arguments is None else text_of(arguments if isinstance(arguments, str) else json.dumps(arguments))
    return text_of(f"<tool_call>{name}\n{shown}</tool_call>")


def reasoning_of(message: Mapping[str, Json]) -> str:
    """What a message keeps of reasoning beside its text: a field of its own, or parts of its content."""
    fields = [message.get(n) for n in ("reasoning_content", "reasoning", "thinking", "thought")]
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    fields += [p.get("reasoning") or p.get("thinking") or p.get("text") for p in parts
               if isinstance(p, dict) and p.get("type") in ("reasoning", "thinking")]  # fmt: skip
    return "\n".join(text_of(f) for f in fields if isinstance(f, str) and f)


def references_of(value: Json) -> tuple[str, ...] | None:
    if isinstance(value, list):
        texts = [str(v) for v in value if isinstance(v, (str, int, float))]
        return tuple(texts) or None
    return (str(value),) if isinstance(value, (str, int, float)) and value != "" else None


def ground_truth(row: Mapping[str, Json]) -> Json:
    model = row.get("reward_model")
    return model.get("ground_truth") if isinstance(model, dict) else None


def numeric(value: Json) -> bool:
    return isinstance(value, (bool, int, float))


def reads_as_number(value: Json) -> bool:
    """Whether it is text that a number was written as, such as "1" or "NaN": it is none, and that is said."""
    if not isinstance(value, str) or not 0 < len(value) < 40:
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def number_of(value: Json) -> float | None:
    """A finite number; anything else is none."""
    if not numeric(value):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def kind_of(value: Json) -> str:
    return {type(None): "null", dict: "an object", list: "a list", str: "text", bool: "true or false"}.get(
        type(value), "a number"
    )
