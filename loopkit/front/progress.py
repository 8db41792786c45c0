"""Progress: a listener hears Events; by default bars in a terminal or a notebook, and a line a phase elsewhere."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from loopkit.experiment.config import on_tiny
from loopkit.front.tables import harmless
from loopkit.records import Json
from loopkit.running.runner import Event, Listener
from loopkit.system.notices import log_line

Progress = Listener | bool | None
"""A callback, False for silence, None or True for bars."""
STEADY = 10.0
"""Seconds between two log lines of a run's steps, where no bars are drawn: a short run logs none."""
EVERY = 0.2
"""Seconds between two drawings in a notebook."""


@contextlib.contextmanager
def listening(progress: Progress = None) -> Iterator[Listener]:
    """The listener that ``progress`` asks for, as long as it is listened to."""
    if callable(progress):
        yield progress
    elif progress is False:
        yield lambda event: None
    elif in_notebook():
        with NotebookBars() as bars:
            yield bars.news
    else:
        with Bars() as bars:
            yield bars.news


def counted(listen: Listener, name: str, phase: str) -> Callable[[int, int], None]:
    """A (done, total) callback that says so as Events."""
    return lambda done, total: listen(Event(name, phase, done, total))


def opening(listen: Listener, model: str) -> Callable[[int, int], None]:
    """As ``counted``, for what it takes until a model can speak: tiny's warm-up, or the loading of another."""
    return counted(listen, model, "warm-up" if on_tiny(model) else "loading")


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class Bars:
    """Progress bars on standard error; one log line a change of phase where that is not a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.terminal = sys.stderr.isatty()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            disable=not self.terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._logged: dict[tuple[str, str], tuple[float, float, int]] = {}

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def news(self, event: Event) -> None:
        """Show news of a run: a bar moves, what was overcome and what failed is logged."""
        if event.phase == "notice":
            log_line("warning", "went on", run=event.run, what=harmless(event.text))
            return
        self._update(event)
        if event.phase == "failed":
            log_line("error", "run failed", run=event.run, why=harmless(event.text))

    def _update(self, event: Event) -> None:
        """Move a bar; or log that a phase began, and how far it is, now and then."""
        name, phase, done, total = event.run, event.phase, event.done, event.total
        if not self.terminal:
            self._log(event)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total or None)
        finished = phase in ("done", "failed")
        self._bars.update(
            self._tasks[name],
            description=f"{name}: {phase}" + (f" ({harmless(event.text)})" if event.text and not finished else ""),
            completed=total if finished else done,
            total=total or None,
            visible=not finished,
        )

    def _log(self, event: Event) -> None:
        """A line where a phase begins, and one for a step that comes ``STEADY`` seconds or more after the last line."""
        key, now = (event.run, event.phase), time.monotonic()
        if key not in self._logged:
            self._logged[key] = (now, now, event.done)
            log_line("info", event.phase, run=event.run, of=event.total or None)
            return
        began, last, first = self._logged[key]
        if now - last < STEADY or event.done <= first or not event.total:
            return
        self._logged[key] = (began, now, first)
        each = (now - began) / (event.done - first)
        fields: dict[str, Json] = {"said": harmless(event.text)} if event.text else {}
        log_line("info", event.phase, run=event.run, step=event.done, of=event.total, **fields,
                 s_a_step=round(each, 1), s_left=round(each * (event.total - event.done)))  # fmt: skip


class NotebookBars:
    """One HTML display with a bar a run that goes on; empty when all is over. Needs no widgets."""

    def __init__(self) -> None:
        self._runs: dict[str, Event] = {}
        self._told: list[str] = []
        self._ended = 0
        self._drawn = 0.0
        self._display: Any = None
        self._ipython: Any = None

    def __enter__(self) -> NotebookBars:
        import IPython.display as notebook

        self._ipython = notebook
        self._display = self._ipython.display(self._ipython.HTML(""), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.clear()
        self._draw()

    def news(self, event: Event) -> None:
        """Show news of a run."""
        if event.phase in ("notice", "failed"):
            self._told.append(f"{event.run}: {event.phase}: {harmless(event.text)}")
        if event.phase in ("done", "failed"):
            self._ended += self._runs.pop(event.run, None) is not None
        elif event.phase != "notice":
            self._runs[event.run] = event
        if time.monotonic() - self._drawn > EVERY or event.phase in ("done", "failed", "notice"):
            self._draw()

    def _draw(self) -> None:
        lines = [f"<div>{html.escape(text)}</div>" for text in self._told]
        for event in self._runs.values():
            value = f' value="{event.done}" max="{event.total}"' if event.total else ""
            count = f" {event.done}/{event.total}" if event.total else ""
            lines.append(f"<div><progress{value}></progress> {html.escape(event.run)}: {event.phase}{count}</div>")
        self._drawn = time.monotonic()
        self._display.update(self._ipython.HTML("".join(lines)))
