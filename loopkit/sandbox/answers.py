"""From what a child left behind to outcomes. Everything here is hostile: it is parsed strictly, and never executed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from typing import Any

from loopkit.sandbox.inside import codec
from loopkit.sandbox.inside.child import DETAIL, OWN
from loopkit.sandbox.programs import Limits, Outcome

TIME = {signal.SIGPROF: "processor time", signal.SIGXCPU: "processor time", signal.SIGALRM: "wall time"}


def infrastructure(answer: Mapping[str, Any], cases: int, limits: Limits) -> str | None:
    """Why an answer is the sandbox's failure rather than the program's; None where it is the program's own."""
    if not answer["began"]:
        return f"its child could not be set up: {answer['note'] or answer['status']}"
    killed = answer["status"] == -signal.SIGKILL and not answer["late"]
    if killed and answer["cpu"] < int(limits.cpu * (cases + 1)):
        return "its child was killed from outside: the machine may be out of memory"
    return None


def read(form: str, first: int, cases: int, answer: Mapping[str, Any], out: int, limits: Limits) -> list[Outcome]:
    """Outcomes of the cases from ``first`` on; fewer than ``cases`` where the process ended early on the last of them.

    out   descriptor of the memory file that the child wrote.
    """
    room = limits.output + OWN * cases
    data = os.pread(out, room + 1, 0)
    if form == "script":
        return [_script(data, answer, limits)]
    return _function(data, first, cases, answer, room)


def _script(data: bytes, answer: Mapping[str, Any], limits: Limits) -> Outcome:
    if (ended := _ended(answer)) is not None:
        return ended
    if len(data) > limits.output:
        return Outcome("output", detail=f"more than {limits.output} bytes")
    if answer["status"] != 0:
        return Outcome("error", detail=answer["note"] or f"exit code {answer['status']}")
    return Outcome("printed", data.decode("utf-8", "replace"))


def _function(data: bytes, first: int, cases: int, answer: Mapping[str, Any], room: int) -> list[Outcome]:
    lines = data.split(b"\n")[:-1]  # what follows the last newline was not finished
    ended = _ended(answer) or Outcome("crashed", detail="it ended early, without an answer")
    if len(data) >= room:
        ended = Outcome("output", detail=f"more than {room} bytes")
    head = _frame(lines[0]) if lines else None
    match head:
        case [-1, "error", str(), str()]:
            return [Outcome("error", detail=_detail(head))] * cases
    if head != [-1, "loaded"]:
        return [ended] * cases  # it never came to a case, and would not another time
    found: list[Outcome] = []
    for k, line in enumerate(lines[1 : cases + 1], first):
        outcome = _case(_frame(line), k)
        if outcome is None:
            return [*found, Outcome("crashed", detail="it wrote over its answers")]
        found.append(outcome)
    return found if len(found) == cases else [*found, ended]


def _case(frame: list[Any] | None, k: int) -> Outcome | None:
    """The outcome a line of output claims to be; None for anything that ``child`` would not have written."""
    if frame is None or len(frame) < 3 or type(frame[0]) is not int or frame[0] != k:
        return None
    match frame[1:]:
        case ["value", str(text)]:
            try:
                return Outcome("value", codec.decode(text))
            except codec.Unsupported:
                return None
        case ["error", str(), str()]:
            return Outcome("error", detail=_detail(frame))
        case ["unsupported", str(text)]:
            return Outcome("unsupported", detail=text[:DETAIL])
        case ["big", int(size)]:
            return Outcome("output", detail=f"{size} bytes")
    return None


def _frame(line: bytes) -> list[Any] | None:
    """The list that a line holds; None for any other bytes: a program writes what it likes, or patches our ``json``."""
    try:
        frame = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    return frame if type(frame) is list else None


def _detail(frame: list[Any]) -> str:
    return ": ".join(str(part) for part in frame[2:4] if part)[: DETAIL + 100]


def _ended(answer: Mapping[str, Any]) -> Outcome | None:
    """The outcome of a process that did not end by itself; None if it did."""
    status = answer["status"]
    if answer["late"]:
        return Outcome("timeout", detail="wall time")
    if status >= 0:
        return None
    if -status in TIME:
        return Outcome("timeout", detail=TIME[signal.Signals(-status)])
    if status == -signal.SIGKILL:
        return Outcome("timeout", detail="processor time")
    try:
        return Outcome("crashed", detail=signal.Signals(-status).name)
    except ValueError:
        return Outcome("crashed", detail=f"signal {-status}")
