"""What server and client share of the protocol: the verbs, the limits, a turn as JSON, and the checks of a request."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from loopkit.records import Json, Turn

BODY_LIMIT = 8 << 20
"""Bytes a request may have; a client splits its batches well below it."""
VERBS = ("info", "resume", "slots", "reply", "settle", "close")
SIZES = ("n_steps", "prompts_per_step", "group_size")
"""What ``info`` answers, beside ``session``: what a server knows of open steps dies with it, so each has a name."""


def dump(data: Json) -> bytes:
    """JSON as it travels."""
    # Not ASCII escapes: those would join two lone surrogates, side by side, into one character.
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")


class Refused(Exception):
    """A request that is answered with a status and what is wrong with it, and does not reach the referee."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.answer = status, {"error": message, "kind": "Refused"}


def parse(data: bytes) -> dict[str, Json]:
    """A request's body. Raises Refused if it is not a JSON object."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object.")
    return body


_Kind = tuple[Callable[[Any], bool], str]
"""Whether a value is of the kind, and the kind in words."""


def _all(kind: _Kind, kinds: str) -> _Kind:
    return lambda value: isinstance(value, list) and all(map(kind[0], value)), kinds


STRING: _Kind = (lambda v: isinstance(v, str), "a string")
WHOLE: _Kind = (lambda v: type(v) is int and 0 <= v < 1 << 53, "a whole number from 0")
NUMBER: _Kind = (lambda v: type(v) in (int, float) and abs(v) < math.inf, "a finite number")
STRINGS, WHOLES = _all(STRING, "a list of strings"), _all(WHOLE, "a list of whole numbers from 0")
OBJECTS = _all((lambda v: isinstance(v, dict), ""), "a list of objects")
NUMBERS: _Kind = (lambda v: isinstance(v, dict) and all(map(NUMBER[0], v.values())), "an object of finite numbers")
TEXT: _Kind = (lambda v: v is None or isinstance(v, str), "null or a string")
FINISH: _Kind = (lambda v: v in ("stop", "length"), "'stop' or 'length'")
IDS: _Kind = (lambda v: v is None or WHOLES[0](v), "null or a list of whole numbers from 0")
_REQUIRED: Any = object()


def field(body: Json, name: str, kind: _Kind, default: Any = _REQUIRED) -> Any:
    """A field of a request. Raises Refused if it is not of its kind, or missing without a default."""
    value = body.get(name, default)
    if value is _REQUIRED or not kind[0](value):
        raise Refused(400, f"field {name!r} must be {kind[1]}.")
    return value


def write_turn(turn: Turn) -> Json:
    """Of a turn, what travels."""
    ids = None if turn.ids is None else list(turn.ids)
    thoughts = {} if turn.thoughts is None else {"thoughts": turn.thoughts}
    return {"text": turn.text, "finish": turn.finish, "temperature": turn.temperature, "ids": ids, **thoughts}


def read_turn(data: Json) -> Turn:
    """The turn in a request. Raises Refused."""
    ids, temperature = field(data, "ids", IDS, None), field(data, "temperature", NUMBER, 1.0)
    text, finish = field(data, "text", STRING), field(data, "finish", FINISH, "stop")
    thoughts = field(data, "thoughts", TEXT, None)
    return Turn(text, finish, ids=None if ids is None else tuple(ids), temperature=temperature, thoughts=thoughts)
