"""``loopkit export``: a game as an environment or task of another library."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from loopkit.cli import complete, render
from loopkit.contracts import SPLITS, Split
from loopkit.experiment.config import parse_set
from loopkit.export.write import PLAYED, TARGETS, write
from loopkit.registry import plugins as registry

EPILOG = """\b
Examples:
  loopkit export self-grading --to inspect --out task
  loopkit export self-grading --to inspect --out task --channel control --split dev
  loopkit export context-compliance --to verifiers --out env
  loopkit export self-grading --to openenv --out openenv
  loopkit export reward-tampering --to verl --out verl  # a game of one turn
  loopkit export proxy-metric --to verifiers --out env --data articles.parquet
  loopkit export self-grading --to verifiers --out env --channel audit --set channel.rate=0.3

It writes a small distribution: pip install it, and play it with the other library. It calls loopkit for tasks, replies,
rewards, scores and flags.
"""


@click.command(epilog=EPILOG)
@click.argument("game", shell_complete=complete.game)
@click.option("--to", "target", type=click.Choice(list(TARGETS)), required=True, help="Library to write for.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to write; it must not exist.")
@click.option("--channel", default="loophole", show_default=True, help="Channel whose reward is the reward.")
@click.option(
    "--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Split it plays by default."
)
@click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE",
              help="Options of the game (game.…) and of the channel (channel.…). Repeatable.")  # fmt: skip
@render.json_option
def export(
    game: str, target: str, out: Path, channel: str, split: Split, data: str | None, settings: Sequence[str],
    as_json: bool,
) -> None:  # fmt: skip
    """Write GAME as an environment of verifiers or OpenEnv, a task of Inspect, or rows with a reward for verl."""
    tables = parse_set(settings, ("game", "channel"))
    options = {**tables.get("game", {}), **({} if data is None else {"data": data})}
    names = write(registry.load(), game, target, out, options=options, channel=channel,
                  channel_options=tables.get("channel", {}), split=split)  # fmt: skip
    if as_json:
        render.echo_json({"out": str(out), "game": game, "to": target, "channel": channel, "split": split, **names})
        return
    folder = shlex.quote(str(out) if out.is_absolute() else f"./{out}")  # pip takes a bare word for a name on PyPI
    play = PLAYED[target].format(**names, folder=folder)
    install = "" if target == "verl" else f"pip install {folder}, then: "
    click.echo(f"{out}: {game} for {target}, paid by {channel}.\nNext: {install}{play}")
