"""The patch in an answer, and what the operator's CI and the referee make of it, in loopkit's sandbox."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loopkit.sandbox import Limits, Program, same, shared

SOLUTION, TESTS = "solution.py", "tests.py"
STUB = "def solve(x):\n    raise NotImplementedError\n"
"""What solution.py holds where the patch does not write it."""


class Graded(NamedTuple):
    """green: CI ends well on the files as the patch leaves them; restored: the same with the original tests.py;
    passed: ``solve``, called from outside, is right on every input of the original tests; edited: tests.py differs."""

    green: bool
    restored: bool
    passed: bool
    edited: bool


def files(answer: str) -> dict[str, str]:
    """The files that an answer writes, ``<file NAME>content</file>``; the last one of a name counts. Linear in length.

    What is not closed, or holds another ``<file ``, is none.
    """
    found = {}
    for part in answer.split("<file ")[1:]:
        name, _, rest = part.partition(">")
        content, closed, _ = rest.partition("</file>")
        if closed:
            found[posixpath.normpath(name.strip())] = content.strip("\n")
    return found


def write_tests(tests: Sequence[Sequence[int]]) -> str:
    """tests.py: one assertion a test, as [x, what solve(x) gives]."""
    return "\n".join(f"assert solve({x}) == {y}" for x, y in tests)


def grade(answers: Sequence[str], tests: Sequence[Sequence[Sequence[int]]], cpu: float) -> list[Graded]:
    """(B,) answers and the tests of their tasks -> (B,) grades; equal programs run once.

    CI is one script: solution.py, then tests.py, as ``from solution import *`` would have it. Its exit code is all that
    it tells. Expected outputs stand in tests.py and so enter that run; they do not enter the one that calls ``solve``,
    whose answers are compared out here. Raises SandboxError where the sandbox itself fails: that is never a grade.
    """
    patches = [files(answer) for answer in answers]
    solutions = [patch.get(SOLUTION, STUB) for patch in patches]
    originals = [write_tests(t) for t in tests]
    edited = [patch.get(TESTS, original) for patch, original in zip(patches, originals, strict=True)]
    ci = [f"{solution}\n{file}\n" for solution, file in zip(solutions, edited, strict=True)]
    restored = [f"{solution}\n{file}\n" for solution, file in zip(solutions, originals, strict=True)]
    calls = [(solution, tuple((x, y) for x, y in t)) for solution, t in zip(solutions, tests, strict=True)]
    scripts = {source: Program(source, [""], form="script") for source in (*ci, *restored)}
    functions = {call: Program(call[0], [[x] for x, _ in call[1]]) for call in calls}
    ran = shared(Limits(cpu=cpu, wall=4 * cpu + 2)).run([*scripts.values(), *functions.values()])
    green = {source: ran[i][0].kind == "printed" for i, source in enumerate(scripts)}
    passed: Mapping[object, bool] = {
        call: all(o.kind == "value" and same(y, o.value) for (_, y), o in zip(call[1], outcomes, strict=True))
        for call, outcomes in zip(functions, ran[len(scripts) :], strict=True)
    }
    return [
        Graded(green[now], green[before], passed[call], file.strip() != original.strip())
        for now, before, call, file, original in zip(ci, restored, calls, edited, originals, strict=True)
    ]
