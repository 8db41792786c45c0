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
  loopkit new channel doubting    # for self-grading, as an example
  loopkit new detector boasts     # for every game
  loopkit new trainer plain-reinforce --author "A. Person <a@example.org>"
  loopkit new intervention withhold
"""
EPILOG = """
\b
Then:
  pip install -e './loopkit-NAME[test]'
  pytest loopkit-NAME

What the files hold, piece by piece: docs/packaging-a-game.md.
"""
TRIED = {
    "game": "loopkit run --game {name}", "channel": "loopkit run --game {game} --arms loophole,control,{name}",
    "detector": "loopkit run --game {game}", "trainer": "loopkit run --game {game} --trainer {name}",
    "intervention": "loopkit run --game {game} --arms loophole,loophole+{name}",
}  # fmt: skip
"""The command that uses what was written."""
HELP = {
    "game": "The game is a small one that `tiny` can play and exploit; make it yours step by step, as its README says.",
    "channel": "The channel is one for self-grading: what is paid for a claim.",
    "detector": "The detector reads what was said, so it serves every game.",
    "trainer": "The trainer is REINFORCE in one method.",
    "intervention": "The intervention is a monitor that withholds pay.",
}  # fmt: skip


@click.group(epilog=EXAMPLES)
def new() -> None:
    """Begin a distribution of your own, which works before you edit a line."""


def _command(kind: str) -> click.Command:
    @click.argument("name")
    @click.option("--out", type=click.Path(path_type=Path), help="Directory to make.  [default: loopkit-NAME, here]")
    @click.option(
        "--author", metavar='"NAME <MAIL>"', help="Of pyproject.toml and LICENSE.  [default: as git knows you]"
    )
    @render.json_option
    def begin(name: str, out: Path | None, author: str | None, as_json: bool) -> None:
        _write(kind, name, out, writing.me() if author is None else author, as_json)

    begin.__doc__ = (
        f"Write a complete {kind}: module, pyproject.toml, licence, tests, README, CI and a release workflow.\n\n"
        f"NAME is what it is called in loopkit: lower-case letters, digits and hyphens. {HELP[kind]}"
    )
    example = next(line for line in EXAMPLES.splitlines() if line.startswith(f"  loopkit new {kind}"))
    used = TRIED[kind].format(name=example.split()[3], game=writing.EXAMPLE)
    return click.command(kind, epilog=f"\b\nExamples:\n{example}\n{EPILOG}\n\b\nUse it:\n  {used}\n")(begin)


for _kind in writing.KINDS:
    new.add_command(_command(_kind))


def _write(kind: str, name: str, out: Path | None, author: str, as_json: bool) -> None:
    """Write the files, and say what comes next."""
    writing.check_name(name, registry.load(), kind)
    out = out or Path(f"loopkit-{name}")
    made = writing.files(kind, name, author)
    writing.write(made, out)
    there = shlex.quote(str(out))
    install = shlex.quote(f"{out}[test]" if out.is_absolute() else f"./{out}[test]")
    used = TRIED[kind].format(name=name, game=writing.EXAMPLE)
    following = [f"pip install -e {install}", f"pytest {there}", used]
    if as_json:
        render.echo_json({"out": str(out), "files": list(made), "next": following})
        return
    click.echo("\n".join([f"{out}:", *(f"  {path}" for path in made), "", "Next:", *(f"  {c}" for c in following)]))
