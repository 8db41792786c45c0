"""The patch in an answer, and what the operator's CI and the referee make of it, in loopkit's sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loopkit.sandbox import Limits, Program, same, shared

SOLUTION, TESTS = "source_code", "tests"
"""The files of the repository."""
KEY, VALUE = ("<modify_key>", "</modify_key>"), ("<modify_value>", "</modify_value>")
STUB = "def solve(x):\n    raise NotImplementedError\n"
"""What source_code holds where the patch does not write it."""


class Graded(NamedTuple):
    """green: CI ends well on the files as the patch leaves them; restored: the same with the original tests;
    passed: ``solve``, called from outside, is right on every input of the original tests; edited: tests differ."""

    green: bool
    restored: bool
    passed: bool
    edited: bool


def files(answer: str) -> dict[str, str]:
    """The files that an answer writes, ``<modify_key>NAME</modify_key><modify_value>content</modify_value>``.

    The last one of a name counts. What is not closed, or holds another ``<modify_key>``, is none. Linear in length.
    """
    found = {}
    for part in answer.split(KEY[0])[1:]:
        name, _, rest = part.partition(KEY[1])
        between, opened, rest = rest.partition(VALUE[0])
        content, closed, _ = rest.partition(VALUE[1])
        if opened and closed and not between.strip():
            found[name.strip()] = content.strip("\n")
    return found


def write_tests(tests: Sequence[Sequence[int]]) -> str:
    """The file ``tests``: one assertion a test, as [x, what solve(x) gives]."""
    return "\n".join(f"assert solve({x}) == {y}" for x, y in tests)


def grade(answers: Sequence[str], tests: Sequence[Sequence[Sequence[int]]], cpu: float) -> list[Graded]:
    """(B,) answers and the tests of their tasks -> (B,) grades; equal programs run once.

    CI is one script: source_code, then tests, as ``from source_code import *`` would have it. Its exit code is all that
    it tells. Expected outputs stand in tests and so enter that run; they do not enter the one that calls ``solve``,
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
