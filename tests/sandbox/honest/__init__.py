"""Right programs in the shapes people write: every one must pass, in every tier.

``scripts`` and ``functions`` are shapes times tasks; ``singles`` are one of a kind. What each should give is computed
by the tasks' own references, or written beside it; ``test_honest`` holds that against a plain Python, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loopkit.sandbox import Outcome, Program, same, same_text


@dataclass(frozen=True)
class Honest:
    """A right program, and what each of its cases gives: a value, or printed text."""

    name: str
    program: Program
    expected: tuple[Any, ...]

    def right(self, outcomes: tuple[Outcome, ...]) -> bool:
        equal = same_text if self.program.form == "script" else same
        pairs = zip(self.expected, outcomes, strict=True)
        return all(outcome.answered and equal(wanted, outcome.value) for wanted, outcome in pairs)


def corpus() -> list[Honest]:
    from tests.sandbox.honest import functions, scripts, singles

    return [*scripts.programs(), *functions.programs(), *singles.programs()]
