"""A reward as it is asked: one function, or several that add. Whatever goes wrong names the function and the row.

A failure is never a reward of 0: a policy could learn to cause it.
"""

from __future__ import annotations

import contextlib
import copy
import math
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit.errors import ContractError, PluginError, UsageError
from loopkit.registry.contain import describe, excerpt
from loopkit.rewards import source
from loopkit.rewards.columns import Row
from loopkit.rewards.signatures import Calling, Table, calling

AND = " + "
"""Joins the rewards that add; each may have a weight in front, as in ``0.5*mine.py:brief``."""


def parts(spec: str) -> list[tuple[float, str]]:
    """(weight, what is named) of each reward in ``spec``. Raises UsageError for a weight that is none, or of 0."""
    made = []
    for part in spec.split(AND):
        found = re.fullmatch(r"\s*(?:([-+.\deE]+)\s*\*)?\s*(.+?)\s*", part, re.DOTALL)
        if found is None:
            raise UsageError(f"{spec!r} names an empty reward. Write FILE.py:FUNCTION{AND}0.5*FILE.py:OTHER.")
        try:
            weight = float(found.group(1) or 1.0)
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight) or not weight:
            raise UsageError(f"{part!r}: the weight is no number other than 0. Write 0.5*FILE.py:FUNCTION.")
        made.append((weight, found.group(2)))
    return made


@dataclass(frozen=True)
class Part:
    """One function of a reward, with its weight."""

    name: str
    weight: float
    calling: Calling


@dataclass(frozen=True)
class Reward:
    """The weighted sum of its parts, as TRL adds reward functions: where one returns None, the others count."""

    name: str
    parts: tuple[Part, ...]

    def __call__(self, rows: Sequence[Row], said: Sequence[str], numbers: Sequence[int]) -> list[float]:
        """(B,) rows, completions and row numbers -> (B,) finite rewards.

        Raises ContractError where the code returned anything else, None for a row from every function included, and
        PluginError (which a referee tries again) where it raised; both name the row.
        """
        totals = self.asked(rows, said, numbers)
        for total, number, words in zip(totals, numbers, said, strict=True):
            if total is None:
                raise ContractError(
                    f"reward {self.name} returned None for row {number}, of the completion {excerpt(words, 80)!r}: not "
                    "scored by any function. Drop the rows it is not for, or let it return a number."
                )
        return [total for total in totals if total is not None]

    def asked(self, rows: Sequence[Row], said: Sequence[str], numbers: Sequence[int]) -> list[float | None]:
        """(B,) sums, None where no function scores a row. Raises as a call does, but for None."""
        try:
            return self.scores(rows, said, numbers)
        except (ContractError, UsageError):
            raise
        except Exception as error:
            raise PluginError(self._raised(error, rows, said, numbers)) from error

    def scores(self, rows: Sequence[Row], said: Sequence[str], numbers: Sequence[int]) -> list[float | None]:
        """(B,) sums, None where no function scores a row. What the code raises comes through."""
        by_part = [[part.weight * v if v is not None else None for v in self._of(part, rows, said, numbers)]
                   for part in self.parts]  # fmt: skip
        scored = [[v for v in values if v is not None] for values in zip(*by_part, strict=True)]
        return [sum(values) if values else None for values in scored]

    def _of(self, part: Part, rows: Sequence[Row], said: Sequence[str], numbers: Sequence[int]) -> list[float | None]:
        found = self._ask(part, rows, said)
        found = found.tolist() if hasattr(found, "tolist") else found  # an array or a tensor
        if not isinstance(found, (list, tuple)):
            raise ContractError(
                f"reward {part.name} returned {found!r:.60}. Return a list of floats, one a completion."
            )
        if len(found) != len(rows):
            raise ContractError(
                f"reward {part.name} got {len(rows)} completions and returned {len(found)} rewards. Return one for "
                "each, in the same order."
            )
        return [_finite(part.name, *of) for of in zip(found, numbers, said, strict=True)]

    @staticmethod
    def _ask(part: Part, rows: Sequence[Row], said: Sequence[str]) -> Any:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                return part.calling.pays([copy.deepcopy(dict(row)) for row in rows], list(said))
            except SystemExit as error:  # a test runner's exit must not end the run as if it were done
                raise RuntimeError(f"it called sys.exit({error.code!r})") from error

    def _raised(self, error: Exception, rows: Sequence[Row], said: Sequence[str], numbers: Sequence[int]) -> str:
        """Names the first completion that raises alone."""
        on = f"only in a batch of {len(rows)}, as on rows {list(numbers[:3])}"
        for row, words, number in zip(rows, said, numbers, strict=True):
            try:
                self.scores([row], [words], [number])
            except Exception as alone:
                error, on = alone, f"on row {number}, of the completion {excerpt(words, 80)!r}"
                break
        return (
            f"reward {self.name} raised {where(error)} {on}. Nothing was paid. If what it depends on was down, run the "
            "same command to resume; else mend it and choose another --out, since changed code is another experiment."
        )


def where(error: BaseException) -> str:
    """An error of the user's code, with the file and line of that code."""
    inside = Path(__file__).parent
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent != inside]
    at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{describe(error)}{at}"


def _finite(name: str, value: Any, number: int, words: str) -> float | None:
    if value is None:
        return None
    who = f"reward {name} returned {value!r:.60} for row {number}, of the completion {excerpt(words, 80)!r}"
    try:
        made = float(value)
    except (TypeError, ValueError) as error:
        raise ContractError(f"{who}, which is no number. Return floats.") from error
    if not math.isfinite(made):
        raise ContractError(f"{who}, which is not finite. Nothing was paid. Return a finite number.")
    return made


Finder = Callable[[str, Any, Table], Calling | None]


def reward(spec: str, table: Table, find: Finder | None = None, chat: bool | None = None) -> Reward:
    """What ``spec`` names, ready to be asked. ``find`` is asked first for objects of a library (a taskset, say).

    A list of functions adds them. Raises UsageError where one cannot be imported, is no reward, or asks for what the
    rows lack.
    """
    made = []
    for weight, named in parts(spec):
        target = source.load(named)
        several = target if isinstance(target, (list, tuple)) and target else [target]
        for one in several:
            name = named if len(several) == 1 else f"{named}:{getattr(one, '__name__', type(one).__name__)}"
            found = find(name, one, table) if find else None
            made.append(Part(name, weight, found or calling(name, one, table, chat)))
    return Reward(spec, tuple(made))
