"""``loopkit new``: begin a distribution of your own."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from loopkit import new as writing
from loopkit.cli import render
from loopkit.registry import plugins as registry

EXAMPLES = """\b
Examples:
  loopkit new game compare
  loopkit new game my-grader --out ~/games/my-grader
"""
EPILOG = f"""{EXAMPLES}
\b
Then:
  pip install -e './loopkit-compare[test]'
  pytest loopkit-compare
  loopkit run --game compare

What the files hold, piece by piece: docs/packaging-a-game.md.
"""


@click.group(epilog=EXAMPLES)
def new() -> None:
    """Begin a distribution of your own, which works before you edit a line."""


@new.command(epilog=EPILOG)
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Directory to make.  [default: loopkit-NAME, here]")
@render.json_option
def game(name: str, out: Path | None, as_json: bool) -> None:
    """Write a complete game: module, pyproject.toml, tests, README and CI.

    NAME is what `loopkit run --game NAME` will take: lower-case letters, digits and hyphens.
    The game is a small one that `tiny` can play and exploit; make it yours step by step, as its README says.
    """
    writing.check_name(name, registry.load())
    out = out or Path(f"loopkit-{name}")
    files = writing.game_files(name)
    writing.write(files, out)
    there = shlex.quote(str(out))
    install = shlex.quote(f"{out}[test]" if out.is_absolute() else f"./{out}[test]")
    following = [f"pip install -e {install}", f"pytest {there}", f"loopkit run --game {name}"]
    if as_json:
        render.echo_json({"out": str(out), "files": list(files), "next": following})
        return
    click.echo("\n".join([f"{out}:", *(f"  {path}" for path in files), "", "Next:", *(f"  {c}" for c in following)]))
