"""What went wrong and was overcome (a retry, a damaged checkpoint), or goes on weaker (a sandbox): never silent.

Whoever runs a run listens; where nobody does, a notice is a log line on standard error. Also: what a game is asked at
the moment, so that somebody outside the process can tell when no answer comes.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from loopkit.records import Json


@dataclass(frozen=True)
class Listener:
    """``notice(event, fields)``; ``asking(what, ids)`` before a game is asked, with ("", ()) when it has answered."""

    notice: Callable[[str, Mapping[str, Json]], None]
    asking: Callable[[str, Sequence[str]], None]


_listener: Listener | None = None


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Everything told in this process goes to ``listener``: a process has one run."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def notice(event: str, **fields: Json) -> None:
    """Tell what was overcome; ``fields`` name who is at fault and what was done."""
    if _listener is not None:
        _listener.notice(event, fields)
        return
    log_line("warning", event, **fields)


def log_line(level: str, event: str, **fields: Json) -> None:
    """One line on standard error: for people where that is a terminal, else JSON."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if sys.stderr.isatty():
        line = " ".join([now, f"[{level}]", event, *(f"{k}={v}" for k, v in fields.items())])
    else:
        line = json.dumps({**fields, "event": event, "level": level, "timestamp": now}, default=str)
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def asking(what: str, ids: Sequence[str]) -> Iterator[None]:
    """While a game is asked about rollouts ``ids``."""
    if _listener is None:
        yield
        return
    _listener.asking(what, ids)
    try:
        yield
    finally:
        _listener.asking("", ())


def some(ids: Sequence[str], most: int = 3) -> str:
    """The first few ids in words."""
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more
