"""One family of errors. A message names who is at fault and the cure; the class decides the exit code.

Exit codes: 1 a check failed, 2 usage, 3 a run failed, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
from collections.abc import Iterable, Iterator


class LoopkitError(Exception):
    """Base of every error loopkit raises on purpose. ``exit_code`` is what the command line returns."""

    exit_code = 3


class UsageError(LoopkitError):
    """The user asked for something that cannot be: an unknown name, a misspelt option, bad data."""

    exit_code = 2


class MissingExtra(UsageError):
    """A package is needed that an extra brings, and it is not installed. The message is one line with the cure."""


class PluginError(LoopkitError):
    """A plugin broke the contract, or could not be loaded. The message names its distribution."""

    exit_code = 3


class ContractError(LoopkitError):
    """A game, channel, detector or trainer returned something its contract forbids (a NaN reward, say)."""

    exit_code = 3


class RefereeError(LoopkitError):
    """A referee was asked for something that contradicts its records, such as another text for a played turn."""

    exit_code = 3


class RunError(LoopkitError):
    """A run could not go on. What was recorded stays, and the same command resumes."""

    exit_code = 3


class JudgeError(RunError):
    """A model judge gave no usable answer. Nothing is paid for it, and the game is not blamed."""


class CheckFailed(LoopkitError):
    """A conformance check did not hold."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """A helpful tail for "unknown name" messages: the nearest known names, else all of them (at most 30)."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    more = f" and {len(known) - 30} more" if len(known) > 30 else ""
    return f"Known: {', '.join(known[:30])}{more}." if known else "None is registered."


EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "tokenizers", "safetensors", "gguf", "accelerate"), "train"),
    **dict.fromkeys(("rouge_score", "nltk", "sacrebleu"), "text"),
    "peft": "peft", "reasoning_gym": "reasoning-gym", "tensorboard": "track", "inspect_ai": "inspect",
    "verifiers": "verifiers", "trl": "bench", "datasets": "bench", "wandb": "wandb", "trackio": "trackio",
    "openenv": "openenv",
}  # fmt: skip
"""Package as it is imported -> the extra of loopkit-rl that brings it."""


def missing_extra(error: BaseException, purpose: str = "this") -> MissingExtra | None:
    """The error to raise where an import failed for a package that an extra brings; None for any other error.

    ``purpose``, as the user calls it, is what needs the package.
    """
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package not in EXTRAS:
        return None
    return MissingExtra(f"{purpose} needs {package}: pip install 'loopkit-rl[{EXTRAS[package]}]'")


def require(package: str, purpose: str) -> None:
    """Raises MissingExtra, before any work, where a package that ``purpose`` will need is not installed."""
    if importlib.util.find_spec(package) is None:
        raise MissingExtra(f"{purpose} needs {package}: pip install 'loopkit-rl[{EXTRAS[package]}]'")


@contextlib.contextmanager
def needing(purpose: str) -> Iterator[None]:
    """Import what an extra brings: raises MissingExtra where it is not installed."""
    try:
        yield
    except ImportError as error:
        if missing := missing_extra(error, purpose):
            raise missing from error
        raise
