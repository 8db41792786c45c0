"""What goes in and what comes out: programs, limits, outcomes, and the comparison, which is made outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loopkit.errors import UsageError
from loopkit.sandbox.inside import codec

Kind = Literal["value", "printed", "error", "timeout", "crashed", "output", "unsupported"]


@dataclass(frozen=True)
class Program:
    """A program and the inputs it is to be run on. Expected outputs have no place here: they never enter the sandbox.

    form    "function": ``entry`` (``solve``, or ``Solution.solve`` of a fresh ``Solution()``) is called once a case,
            with the case's arguments, all in one process; "script": run once a case as ``__main__``, each in a process
            of its own, the case being its standard input.
    shared  the cases of a script may share a process, one after another: several times as fast, at the price of a case
            finding what an earlier one has done to the interpreter. For a game to say; those that end badly are run
            again, by themselves.
    cases   of a function, the arguments of each call: a sequence of values of None, bool, int, float, str, bytes,
            list, tuple, dict, set, frozenset; of a script, text.
    """

    source: str
    cases: Sequence[Any]
    form: Literal["function", "script"] = "function"
    entry: str = "solve"
    shared: bool = False

    def __post_init__(self) -> None:
        if self.form not in ("function", "script"):
            raise UsageError(f"a program's form is 'function' or 'script', not {self.form!r}.")
        for case in self.cases:
            if self.form == "script" and not isinstance(case, str):
                raise UsageError(f"a case of a script is its standard input as text, not {type(case).__name__}.")
            if self.form == "function" and not isinstance(case, (list, tuple)):
                raise UsageError(f"a case of a function is a list of its arguments, not {type(case).__name__}.")
        if self.form == "function" and not all(part.isidentifier() for part in self.entry.split(".", 1)):
            raise UsageError(f"a program's entry is a name, or Class.method, not {self.entry!r}.")


@dataclass(frozen=True)
class Limits:
    """What one case of a program may use.

    cpu and wall   seconds; memory: bytes of address space of the process; output: bytes of what it prints or returns.
    """

    cpu: float = 2.0
    wall: float = 8.0
    memory: int = 512 << 20
    output: int = 1 << 20

    def __post_init__(self) -> None:
        if not 0 < self.cpu <= 3600 or not 0 < self.wall <= 3600:
            raise UsageError("a program's limits of cpu and wall are seconds, above 0 and up to 3600.")
        if self.memory < 128 << 20 or not 1 <= self.output <= 256 << 20:
            raise UsageError("a program's memory is at least 128 MiB, and its output 1 byte to 256 MiB.")


@dataclass(frozen=True, repr=False)
class Outcome:
    """What became of one case. A failure of the sandbox itself is no outcome: it raises SandboxError.

    kind    "value" (a function returned ``value``), "printed" (a script ended well, having printed ``value``),
            "error" (it raised, or its exit code is not 0), "timeout", "crashed" (it ended without an answer: a signal,
            os._exit), "output" (too much of it), "unsupported" (it returned what does not travel)
    detail  for people: the exception, the signal, which limit. Written by the program: hostile text.
    """

    kind: Kind
    value: Any = None
    detail: str = ""

    @property
    def answered(self) -> bool:
        return self.kind in ("value", "printed")

    def __repr__(self) -> str:
        try:
            value = repr(self.value)
        except ValueError:  # a number of more digits than Python writes
            value = f"<a {type(self.value).__name__} with a number too long to write>"
        return f"Outcome({self.kind!r}, {value}, {self.detail!r})"


def same(expected: Any, got: Any) -> bool:
    """Equal in type and value, all the way down: ``1``, ``True`` and ``1.0`` differ, so do a list and a tuple; NaN
    equals NaN. For what came out of the sandbox, whose types are exact: nothing of the program's runs here."""
    kind = type(expected)
    if kind is not type(got):
        return False
    if kind is float:
        return bool(expected == got) or (math.isnan(expected) and math.isnan(got))
    if kind in (list, tuple):
        return len(expected) == len(got) and all(map(same, expected, got))
    if kind is dict:
        wanted, found = ({_key(k): v for k, v in d.items()} for d in (expected, got))
        return wanted.keys() == found.keys() and all(same(v, found[k]) for k, v in wanted.items())
    if kind in (set, frozenset):
        return {_key(v) for v in expected} == {_key(v) for v in got}
    return bool(expected == got)


def _key(value: Any) -> str:
    """Equal for what ``same`` holds equal, of values that can be in a set: ``-0.0`` is ``0.0``, NaN is NaN."""
    return codec.encode(_zeros(value))


def _zeros(value: Any) -> Any:
    if type(value) is float:
        return value + 0.0  # -0.0 + 0.0 is 0.0
    return type(value)(map(_zeros, value)) if type(value) in (tuple, frozenset) else value


def same_text(expected: str, got: str) -> bool:
    """Equal but for blanks at the ends of lines and blank lines at the end: the usual rule for printed output."""
    return _lines(expected) == _lines(got)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
