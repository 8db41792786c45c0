"""``loopkit list``: what is registered, and where it comes from."""

from __future__ import annotations

import click

from loopkit import plugins as registry
from loopkit.cli import render
from loopkit.errors import LoopkitError
from loopkit.plugins import KINDS, Kind, Plugins

EPILOG = """\b
Examples:
  loopkit list
  loopkit list channels --format markdown
  loopkit list trainers --json
"""


@click.command("list", epilog=EPILOG)
@click.argument("kind", type=click.Choice(KINDS), required=False)
@render.format_option
@render.json_option
def list_(kind: Kind | None, style: str, as_json: bool) -> None:
    """List what is registered: games, trainers, channels, detectors or policies (default: all)."""
    plugins = registry.load()
    rows = [row for k in ((kind,) if kind else KINDS) for row in _rows(plugins, k)]
    if as_json:
        render.echo_json([dict(zip(("kind", "name", "what", "origin"), row, strict=True)) for row in rows])
        return
    click.echo(render.table(rows, ["kind", "name", "what it is", "origin"], style))
    if plugins.problems:
        names = ", ".join(sorted({p.origin.distribution for p in plugins.problems}))
        click.echo(f"\nSome plugins have problems ({names}): see `loopkit doctor`.", err=True)


def _rows(plugins: Plugins, kind: Kind) -> list[list[str]]:
    rows = []
    for name in plugins.names(kind):
        entry = plugins.get(kind, name) if (kind, name) not in plugins.contested else plugins.entries[kind, name]
        rows.append([kind, name, _about(plugins, kind, name), str(entry.origin)])
    if kind in ("channels", "detectors"):
        for game in plugins.names("games"):
            try:
                cls = plugins.game(game)
                owned = getattr(cls(cls.Options()), kind)
            except Exception:  # a game that cannot be made is doctor's business
                continue
            origin = str(plugins.get("games", game).origin)
            rows += [[kind, f"{game}/{name}", _first_line(type(o)), origin] for name, o in owned.items()]
    return rows


def _about(plugins: Plugins, kind: Kind, name: str) -> str:
    try:
        entry = plugins.get(kind, name)
        preset = ", ".join(f"{k}={v}" for k, v in entry.preset.items())
        return _first_line(entry.load()) + (f" ({preset})" if preset else "")
    except LoopkitError as error:
        return f"cannot be loaded: {error}"[:80]


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().split("\n")[0]
