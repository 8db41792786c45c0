"""Runs a plugin's code so that its mistakes stay its own: what it raises is an error that names its distribution, and
what it prints goes to standard error, made harmless. A guard against mistakes, not against malice.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from loopkit.errors import LoopkitError, PluginError

CONTRACTS = "loopkit.contracts"
"""The module whose methods are contracts and defaults, no plugin's."""


def harmless(text: str) -> str:
    """Text without control characters, escapes and invisible or direction-changing characters; newlines stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def excerpt(text: str, length: int = 300) -> str:
    """Harmless text of one line and at most ``length`` characters."""
    line = " ".join(harmless(text[: 4 * length].replace("\t", " ")).split())
    return line if len(line) <= length and len(text) <= 4 * length else line[: length - 1] + "…"


def describe(error: BaseException) -> str:
    """An error in one short, harmless line, also if it cannot say what it is."""
    try:
        text = str(error)
    except Exception:
        text = "(its message cannot be read)"
    if isinstance(error, LoopkitError):
        return excerpt(text.rstrip("."), 600)
    kind = type(error).__name__
    return excerpt(f"{kind}: {text}" if text else kind)


class _Harmless:
    """A text stream through which only harmless text passes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(harmless(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def contained(
    origin: object, fault: str, cure: str, *, printed: TextIO | None = None, passes: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Run code of the distribution ``origin``. Whatever it raises, ``sys.exit()`` too, becomes a PluginError,
    but for what ``passes``: errors that are not the plugin's fault.

    The message is ``fault``, the cause and ``cure``. Ctrl-C stays one, and says whose code it stopped. What the code
    prints on standard output goes to ``printed``, else to standard error, so that it does not spoil ``--json``.
    """
    quiet = cast(TextIO, _Harmless(sys.stderr))
    with contextlib.redirect_stdout(printed or quiet), contextlib.redirect_stderr(quiet):
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"in the code of {origin}") from None
        except passes:
            raise
        except BaseException as error:
            cause = describe(error)
            raise PluginError(f"{fault}: {cause}{'' if cause.endswith('?') else '.'} {cure}") from error


def guarded(thing: Any, origin: object, who: str) -> Any:
    """A copy of a channel or detector whose ``rewards``, ``flags`` and ``rate`` run contained."""
    cls: Any = type(thing)

    def guard(name: str) -> Callable[..., Any]:
        method = getattr(cls, name)

        @functools.wraps(method)
        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            with contained(origin, f"{name}() of {who} failed", "Mend or uninstall it."):
                return method(self, *arguments, **named)

        return call

    def reduce(self: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:  # to another process, and guarded there
        bare = self.model_copy()
        object.__setattr__(bare, "__class__", cls)
        return guarded, (bare, origin, who)

    # A default that nobody has overridden stays what it is: ``loopkit check`` asks.
    methods = [
        n for n in ("rewards", "flags", "rate") if any(n in vars(c) for c in cls.mro() if c.__module__ != CONTRACTS)
    ]
    parts = {name: guard(name) for name in methods} | {
        "__module__": cls.__module__,
        "__doc__": cls.__doc__,
        "__reduce__": reduce,
    }
    metaclass: Any = type(cls)
    copy = thing.model_copy()
    object.__setattr__(copy, "__class__", metaclass(cls.__name__, (cls,), parts))
    return copy
