"""Tables (plain or Markdown), progress bars and logs, shared by the commands. Whatever is printed is made harmless."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import click
from tabulate import tabulate

from loopkit.records import Json
from loopkit.registry import contain
from loopkit.registry.plugins import Plugins
from loopkit.report.numbers import interval as interval  # the same on the page
from loopkit.report.numbers import percent as percent
from loopkit.running.runner import Event
from loopkit.system.notices import log_line

FORMATS = {"plain": "simple", "markdown": "github"}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
judge_option = click.option(
    "--judge", "judges", multiple=True, metavar="ROLE=MODEL",
    help="A model in a role of the game: a directory, an id, or openai:MODEL@URL. Repeatable.",
)  # fmt: skip
format_option = click.option(
    "--format", "style", type=click.Choice(list(FORMATS)), default="plain", show_default=True, help="Table format."
)


def harmless(value: Any) -> Any:
    """Text made harmless (see :func:`loopkit.registry.contain.harmless`); anything else as it is."""
    return contain.harmless(value) if isinstance(value, str) else value


def tell_problems(plugins: Plugins) -> None:
    """Say on standard error whose plugins have problems."""
    if names := sorted({p.origin.distribution for p in plugins.problems}):
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        click.echo(f"\nSome plugins have problems ({', '.join(names[:10])}{more}): see `loopkit doctor`.", err=True)


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str], style: str = "plain") -> str:
    """A table; numbers stay as they were formatted."""
    cells = [[harmless(c) for c in row] for row in rows]
    return str(tabulate(cells, headers, tablefmt=FORMATS[style], disable_numparse=True))


def echo_json(data: Json) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(data, indent=2, allow_nan=False, default=str))


class Bars(AbstractContextManager["Bars"]):
    """Progress bars on standard error; one log line a change of phase where that is no terminal."""

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
        self._logged: set[tuple[str, str]] = set()

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def update(self, name: str, phase: str, done: int, total: int) -> None:
        """Move a bar, or log that a phase began."""
        if not self.terminal:
            if (name, phase) not in self._logged:
                self._logged.add((name, phase))
                log_line("info", phase, run=name, of=total or None)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total or None)
        finished = phase in ("done", "failed")
        self._bars.update(
            self._tasks[name],
            description=f"{name}: {phase}",
            completed=total if finished else done,
            total=total or None,
            visible=not finished,
        )

    def news(self, event: Event) -> None:
        """Show news of a run: a bar moves, what was overcome and what failed is logged."""
        if event.phase == "notice":
            log_line("warning", "went on", run=event.run, what=harmless(event.text))
            return
        self.update(event.run, event.phase, event.done, event.total)
        if event.phase == "failed":
            log_line("error", "run failed", run=event.run, why=harmless(event.text))

    def bar(self, name: str, phase: str) -> Callable[[int, int], None]:
        """A (done, total) callback for one bar."""
        return lambda done, total: self.update(name, phase, done, total)
