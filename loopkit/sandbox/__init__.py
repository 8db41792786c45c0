"""Runs untrusted Python: hostile programs, many a second, and closed when in doubt. Knows nothing of games.

    with Sandbox() as sandbox:
        ((outcome,),) = sandbox.run([Program("def solve(a, b): return a + b", cases=[[1, 2]])])
        passed = outcome.answered and same(3, outcome.value)

Expected outputs never enter it: the comparison is made here, outside. A game uses ``shared()``, in the mode chosen on
the command line. See docs/sandbox.md; for what it stops and what is left, SECURITY.md.
``Sandbox`` is imported when it is first used: only Linux has what that imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopkit.sandbox.process import available, shared
from loopkit.sandbox.programs import Limits, Outcome, Program, same, same_text
from loopkit.sandbox.tiers import MODES, VARIABLE, SandboxError

if TYPE_CHECKING:
    from loopkit.sandbox.pool import Sandbox

__all__ = [
    "MODES",
    "VARIABLE",
    "Limits",
    "Outcome",
    "Program",
    "Sandbox",
    "SandboxError",
    "available",
    "same",
    "same_text",
    "shared",
]


def __getattr__(name: str) -> Any:
    if name != "Sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from loopkit.sandbox.pool import Sandbox

    return Sandbox
