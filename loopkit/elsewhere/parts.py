"""Parts of a logged row: texts, messages, references, numbers, whatever their types."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from loopkit.records import Json, Message


class Unusable(Exception):
    """A row that is not a logged dialogue; says why."""


def text_of(content: Json) -> str:
    """The text of a message: as it is, or its parts of type text; what no file can hold becomes U+FFFD."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") == "text"]
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


def turns_of(value: Json) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what the policy said, what was answered between) of a completion: text, or messages."""
    if isinstance(value, str):
        return (text_of(value),), ()
    if isinstance(value, list) and all(isinstance(m, dict) and "role" in m for m in value):
        return split_turns([(text_of(m.get("content")), m["role"] == "assistant") for m in value])
    raise Unusable(f"completion is {kind_of(value)}, neither text nor messages")


def split_turns(messages: Sequence[tuple[str, bool]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(text, whether the policy said it) of each message -> what it said, and what was answered between."""
    replies: list[str] = []
    between: list[str] = []
    waiting: list[str] = []
    for text, of_policy in messages:
        if of_policy:
            if replies:
                between.append("\n".join(waiting))
            replies.append(text)
            waiting = []
        else:
            waiting.append(text)
    if not replies:
        raise Unusable("the completion holds no reply of a model")
    return tuple(replies), tuple(between)


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
    """Whether it is text that looks like a number, such as "1" or "NaN": not read as one, but reported."""
    if not isinstance(value, str) or not 0 < len(value) < 40:
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def number_of(value: Json) -> float | None:
    """A finite number; None for anything else."""
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
