"""Tables (plain or Markdown), progress bars and JSON, shared by the commands. Whatever is printed is made harmless."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from loopkit.front import progress
from loopkit.front.tables import FORMATS, fitted, wrapped
from loopkit.front.tables import harmless as harmless
from loopkit.records import Json
from loopkit.registry.plugins import Plugins
from loopkit.report.numbers import interval as interval  # the same on the page
from loopkit.report.numbers import percent as percent
from loopkit.running.runner import Event

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
judge_option = click.option(
    "--judge", "judges", multiple=True, metavar="ROLE=MODEL",
    help="A model in a role of the game: a directory, an id, or openai:MODEL@URL. Repeatable.",
)  # fmt: skip
format_option = click.option(
    "--format", "style", type=click.Choice(list(FORMATS)), default="plain", show_default=True,
    help="Table format. Markdown is not wrapped to the width of the terminal.",
)  # fmt: skip
verbose_option = click.option("--verbose", "-v", is_flag=True, help="Print every seed and every column.")


def tell_problems(plugins: Plugins) -> None:
    """Say on standard error whose plugins have problems."""
    if names := sorted({p.origin.distribution for p in plugins.problems}):
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        say(f"\nSome plugins have problems ({', '.join(names[:10])}{more}): see `loopkit doctor`.", err=True)


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str], style: str = "plain", keys: int = 1) -> str:
    """A table that fits the terminal; numbers stay as they were formatted."""
    return fitted(rows, headers, style, keys)


def say(text: str, err: bool = False) -> None:
    """Print text, wrapped to the terminal."""
    click.echo(wrapped(text), err=err)


def echo_json(data: Json) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(data, indent=2, allow_nan=False, default=str))


class Bars(progress.Bars):
    """Progress bars, moved by name."""

    def __enter__(self) -> Bars:
        super().__enter__()
        return self

    def update(self, name: str, phase: str, done: int, total: int) -> None:
        """Move a bar, or log that a phase began."""
        self.news(Event(name, phase, done, total))

    def bar(self, name: str, phase: str) -> Callable[[int, int], None]:
        """A (done, total) callback for one bar."""
        return progress.counted(self.news, name, phase)
