"""Exploit detectors every game may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from loopkit.contracts import ExploitDetector
from loopkit.records import Json


def rule(clue: str) -> ExploitDetector:
    """A detector that reads one clue: true flags, false does not, None abstains."""

    class Rule(ExploitDetector):
        reads: ClassVar[frozenset[str]] = frozenset({clue})

        def flags(self, clues: Sequence[Mapping[str, Json]]) -> list[bool | None]:
            return [None if c[clue] is None else bool(c[clue]) for c in clues]

        def __reduce__(self) -> tuple[Callable[..., ExploitDetector], tuple[str]]:
            return rule, (clue,)  # so that it may go to another process

    Rule.__doc__ = f"Flags where the clue {clue!r} is true; abstains where it is None."
    return Rule()
