"""From what a child left behind to outcomes. Everything here is hostile: it is parsed strictly, and never executed."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

from loopkit.sandbox.inside import codec
from loopkit.sandbox.inside.child import BEGAN, DETAIL, FAILED, OWN
from loopkit.sandbox.inside.surroundings import REFUSED
from loopkit.sandbox.programs import Limits, Outcome
from loopkit.sandbox.worker import Answer

CLAIMS = ("a thread", "memory")
"""What a program may say that the machine refused it. It is looked into, not believed."""
ENDS = re.compile(rb"(\d{1,9}) (\d{1,12})\n")


def infrastructure(answer: Answer, program: int, seconds: int) -> str | None:
    """Why an answer is the machine's failure rather than the program's; None where it is the program's own.

    program   descriptor of the memory file that the child marked when it was about to begin.
    seconds   of processor time after which the kernel itself ends the child.
    """
    if answer.refused:
        return f"the machine makes no process for it ({os.strerror(answer.refused)})"
    mark = os.pread(program, DETAIL, 0)
    if mark[:1] != BEGAN:
        text = mark[1:].split(b"\0")[0].decode("utf-8", "replace") if mark[:1] == FAILED else f"status {answer.status}"
        return f"its child could not be set up: {text}"
    if answer.status == -signal.SIGKILL and not answer.killed and answer.cpu < seconds:
        return "its child was killed from outside: the machine may be out of memory"
    return None


def claim(answer: Answer, note: int) -> str | None:
    """What the program says that the machine refused it; None where it says nothing of the kind."""
    said = os.pread(note, DETAIL, 0).decode("utf-8", "replace")
    return said if answer.status == REFUSED and said in CLAIMS else None


def script(answer: Answer, out: int, note: int, limits: Limits) -> Outcome:
    """The outcome of a script that had a process of its own."""
    if (ended := _ended(answer)) is not None:
        return ended
    if os.fstat(out).st_size > limits.output:
        return _much(limits)
    if answer.status != 0:
        said = os.pread(note, DETAIL, 0).decode("utf-8", "replace")
        return Outcome("error", detail=said or f"exit code {answer.status}")
    return _printed(os.pread(out, limits.output, 0))


def scripts(first: int, cases: int, answer: Answer, out: int, note: int, limits: Limits) -> list[Outcome]:
    """Outcomes of the cases from ``first`` on that ran to their end in one process, which says where each output ends.

    Fewer than ``cases`` where one did not: that one is to be run by itself.
    """
    said, size = os.pread(note, 64 * cases, 0), os.fstat(out).st_size
    outcomes: list[Outcome] = []
    at = start = 0
    while len(outcomes) < cases and (line := ENDS.match(said, at)):
        k, end = map(int, line.groups())
        if k != first + len(outcomes) or not start <= end <= size:
            break
        outcomes.append(_printed(os.pread(out, end - start, start)) if end - start <= limits.output else _much(limits))
        start, at = end, line.end()
    if len(outcomes) < cases and answer.killed:
        outcomes.append(Outcome("timeout", detail=answer.killed))
    return outcomes


def function(first: int, cases: int, answer: Answer, out: int, limits: Limits) -> list[Outcome]:
    """Outcomes of the cases from ``first`` on; fewer than ``cases`` where the process ended early on the last of them.

    out   descriptor of the memory file that the child wrote: a line a case.
    """
    room = limits.output + OWN
    ended = _ended(answer) or Outcome("crashed", detail="it ended early, without an answer")
    with open(out, "rb", closefd=False) as file:
        file.seek(0)
        head = file.readline(room)
        if len(head) == room:
            ended = _much(limits)
        frame = _frame(head)
        match frame:
            case [-1, "error", str(), str()]:
                return [Outcome("error", detail=_detail(frame))] * cases
        if frame != [-1, "loaded"]:
            return [ended] * cases  # it never came to a case, and would not another time
        outcomes: list[Outcome] = []
        for k in range(first, first + cases):
            line = file.readline(room)
            if not line.endswith(b"\n"):  # what follows the last newline was not finished
                return [*outcomes, _much(limits) if len(line) == room else ended]
            outcome = _case(_frame(line), k)
            if outcome is None:
                return [*outcomes, Outcome("crashed", detail="it wrote over its answers")]
            outcomes.append(outcome)
    return outcomes


def _case(frame: list[Any] | None, k: int) -> Outcome | None:
    """The outcome a line of output claims to be; None for anything that ``child`` would not have written."""
    if frame is None or len(frame) < 3 or type(frame[0]) is not int or frame[0] != k:
        return None
    match frame[1:]:
        case ["value", data]:
            try:
                return Outcome("value", codec.unpack(data))
            except (codec.Unsupported, RecursionError):
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
    return frame if type(frame) is list and line.endswith(b"\n") else None


def _detail(frame: list[Any]) -> str:
    return ": ".join(str(part) for part in frame[2:4] if part)[: DETAIL + 100]


def _printed(data: bytes) -> Outcome:
    return Outcome("printed", data.decode("utf-8", "replace"))


def _much(limits: Limits) -> Outcome:
    return Outcome("output", detail=f"more than {limits.output} bytes")


def _ended(answer: Answer) -> Outcome | None:
    """The outcome of a process that did not end by itself; None if it did."""
    if answer.killed:
        return Outcome("timeout", detail=answer.killed)
    if answer.status >= 0:
        return None
    if -answer.status in (signal.SIGKILL, signal.SIGXCPU):
        return Outcome("timeout", detail="processor time")
    try:
        return Outcome("crashed", detail=signal.Signals(-answer.status).name)
    except ValueError:
        return Outcome("crashed", detail=f"signal {-answer.status}")
