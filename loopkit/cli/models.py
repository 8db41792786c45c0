"""``loopkit models``: what lies on this machine, and what is known by hub id. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from loopkit.cli import render
from loopkit.errors import UsageError

EPILOG = """\b
Examples:
  loopkit models  # the hub's cache, loopkit's own, and models known by hub id
  loopkit models path/to/models        # and GGUF files and directories below this one
  loopkit run --game reward-tampering --model path/to/model.gguf
"""


@click.command(epilog=EPILOG)
@click.argument("directories", nargs=-1, type=click.Path(path_type=Path))
@render.format_option
@render.json_option
def models(directories: Sequence[Path], style: str, as_json: bool) -> None:
    """List the models on this machine, and known ones by hub id and revision. Downloads and installs nothing."""
    from loopkit.policy import fits, here

    if missing := [str(d) for d in directories if not d.exists()]:
        raise UsageError(f"{', '.join(missing)}: there is no such directory or file. Name one that holds models.")
    lying_here = here.everywhere(directories)
    if as_json:
        render.echo_json({"here": [asdict(f) for f in lying_here], "known": [asdict(k) for k in here.KNOWN]})
        return
    rows = [
        (f.name, _count(f.parameters), _size(f.bytes), _yes(f.template), f.licence or "?", (f.sha256 or "?")[:12])
        for f in lying_here
    ]
    head = ("model", "parameters", "size", "template", "licence", "sha256")
    if rows:
        click.echo(render.table(rows, ("on this machine", *head[1:]), style))
        for f in lying_here:  # paths to copy, whole
            click.echo(f"  --model {render.harmless(f.path)}")
    else:
        render.say("No model lies in the hub's cache, in loopkit's own, or in the directories named.")
    click.echo()
    known = [
        (k.id, _count(k.parameters), _size(k.bytes), _yes(k.template), k.licence, (k.sha256 or "?")[:12])
        for k in here.KNOWN
    ]
    click.echo(render.table(known, ("known by hub id", *head[1:]), style))
    for k in here.KNOWN:
        click.echo(f"  {k.id} at {k.revision}")
    total, free = fits.memory()
    render.say(
        f"\nMemory: {_size(total)}, of which {_size(free)} are free. `loopkit doctor` says what size of model that "
        "trains. A hub id is downloaded by the run that names it; ? is not known without it."
    )


def _count(n: int | None) -> str:
    return "?" if n is None else f"{n / 1e6:,.0f} M" if n >= 1e6 else f"{n:,}"


def _size(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"


def _yes(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"
