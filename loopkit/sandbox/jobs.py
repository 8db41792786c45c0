"""Programs cut into what one process runs, and the memory files that it is given."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loopkit.errors import UsageError
from loopkit.sandbox import answers
from loopkit.sandbox.inside import codec
from loopkit.sandbox.inside.child import OWN
from loopkit.sandbox.inside.keeper import TICKS
from loopkit.sandbox.programs import Limits, Outcome, Program
from loopkit.sandbox.worker import Answer, Job

ROOM = 64 << 20
"""Bytes of output that the cases of one process may fill together: so many of them share one."""
PATIENCE = 4
"""Times its wall time for a program that ran out of it on a busy machine."""
LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Half surrogates that stand for no byte: no encoding has them."""
_numbers = itertools.count(1)


@dataclass
class Unit:
    """Consecutive cases of one program that one process runs.

    single   a case of a script that has its process to itself.
    tries    how often the machine or a worker has failed it; from the first on nothing runs beside it.
    patient  out of wall time once, on a machine that had more to do than it can: it has more, by itself.
    """

    index: int
    program: Program
    first: int
    cases: int
    single: bool = False
    tries: int = 0
    patient: bool = False

    def limits(self, limits: Limits) -> Limits:
        return replace(limits, wall=min(PATIENCE * limits.wall, 3600.0)) if self.patient else limits


def units(programs: Iterable[Program], found: list[list[Outcome | None]], limits: Limits) -> Iterator[Unit]:
    """Read as workers get free; ``found`` gets a row for each program that was read."""
    most = max(1, ROOM // limits.output)
    for index, program in enumerate(programs):
        n = len(program.cases)
        found.append([None] * n)
        single = program.form == "script" and not (program.shared and n > 1)
        size = 1 if single else most
        yield from (Unit(index, program, k, min(size, n - k), single) for k in range(0, n, size))


def rest(unit: Unit, answered: int) -> list[Unit]:
    """What is left of a unit whose process ended after so many cases. A script's is run by itself from there on."""
    first, last = unit.first + answered, unit.first + unit.cases
    if unit.program.form == "script":
        return [replace(unit, first=k, cases=1, single=True, tries=0, patient=False) for k in range(first, last)]
    return [replace(unit, first=first, cases=last - first, tries=0, patient=False)] if first < last else []


def seconds(unit: Unit, limits: Limits) -> int:
    """Processor time after which the kernel ends a unit's process, should the keeper not have."""
    return int(limits.cpu * (1 + 1 / TICKS) * (unit.cases + 1)) + 2


def longest(unit: Unit, limits: Limits) -> float:
    """Seconds of wall time within which the keeper has ended a unit's process."""
    return limits.wall * (1 + 1 / TICKS) * (unit.cases + 1)


def job(unit: Unit, limits: Limits) -> Job:
    """Raises UsageError for arguments that do not travel, OSError where the machine refuses memory files."""
    program, cases = unit.program, unit.program.cases[unit.first : unit.first + unit.cases]
    body: dict[str, Any] = {"form": program.form, "source": program.source, "first": unit.first, "cases": []}
    body |= {"output": limits.output, "memory": limits.memory, "seconds": seconds(unit, limits)}
    stdin, room = b"", (limits.output + OWN) * (unit.cases + 1)
    if program.form == "function":
        try:
            body |= {"entry": program.entry, "cases": [codec.pack(list(c)) for c in cases]}
        except codec.Unsupported as error:
            raise UsageError(f"program {unit.index}: an argument cannot be passed: {error}.") from error
    elif unit.single:
        stdin, room = _bytes(cases[0]), limits.output + OWN
    else:
        body["cases"] = [_plain(c) for c in cases]
        room = max(room, *(len(_bytes(c)) for c in cases))
    number = next(_numbers)
    lines = 0 if unit.single else unit.cases
    settings = {"job": number, "cpu": limits.cpu, "wall": limits.wall, "lines": lines}
    message = json.dumps(settings | {"counted": 2 if program.form == "function" else 4}).encode()
    contents = (json.dumps(body | {"room": room}).encode(), stdin, b"", b"", b"")
    return Job(number, message, *_files(contents))


def outcomes(unit: Unit, answer: Answer, files: Job, limits: Limits) -> list[Outcome]:
    """Of the unit's cases, from its first on, as far as its process came."""
    if unit.single:
        return [answers.script(answer, files.out, files.note, limits)]
    if unit.program.form == "script":
        return answers.scripts(unit.first, unit.cases, answer, files.out, files.note, limits)
    return answers.function(unit.first, unit.cases, answer, files.out, limits)


def _bytes(text: str) -> bytes:
    return _plain(text).encode("utf-8", "surrogateescape")


def _plain(text: str) -> str:
    return LONE.sub("\ufffd", text)


def _files(contents: Sequence[bytes]) -> list[int]:
    """Memory files that hold ``contents``, to be read from their start."""
    files: list[int] = []
    try:
        for data in contents:
            files.append(os.memfd_create("loopkit"))
            while data:
                data = data[os.write(files[-1], data) :]
            os.lseek(files[-1], 0, os.SEEK_SET)
    except BaseException:
        for fd in files:
            os.close(fd)
        raise
    return files
