"""``loopkit fit``: the options of :func:`loopkit.front.fitting.fit`, and the printing of what it gives."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from loopkit.cli import asking, complete, render
from loopkit.cli.sandbox import sandbox_option
from loopkit.contracts import SPLITS, Split
from loopkit.front import fitting

EPILOG = """\b
Examples:
  loopkit fit --game reward-tampering --model path/to/model.gguf
  loopkit fit --game self-grading --model path/to/model --prompts 32 --set run.max_tokens=64
  loopkit fit --reward my_rewards.py:fn --data rows.jsonl --model path/to/model

Exit codes: 0 it fits, 1 something is to be changed first, 2 usage.
"""


@click.command(epilog=EPILOG)
@click.option("--game", shell_complete=complete.game, help="Game to play, or FILE.py:CLASS.")
@click.option("--model", shell_complete=complete.model, default="tiny", show_default=True,
              help="A GGUF file, a Hugging Face directory or id, tiny, or run:DIR.")  # fmt: skip
@asking.reward_option
@asking.trusted_option
@click.option("--split", type=click.Choice(SPLITS), default="dev", show_default=True, help="Split of the tasks.")
@click.option("--prompts", type=click.IntRange(1), default=64, show_default=True, help="Prompts played.")
@click.option("--group", type=click.IntRange(2), default=4, show_default=True, help="Rollouts a prompt.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Keys the sampling.")
@click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE", help="As for `run`. Repeatable.")
@sandbox_option
@render.format_option
@render.json_option
def fit(
    game: str | None,
    model: str,
    reward: str | None,
    trusted: str | None,
    split: Split,
    prompts: int,
    group: int,
    seed: int,
    data: str | None,
    settings: Sequence[str],
    style: str,
    as_json: bool,
) -> None:
    """Say before training whether a model can play a game: format, skill, exploit, variance, times, what to change."""
    result = fitting.fit(
        game, model, prompts=prompts, group=group, split=split, seed=seed, data=data, reward=reward, trusted=trusted,
        options=settings,
    )  # fmt: skip
    if as_json:
        render.echo_json(result.json())
    else:
        click.echo(result.text(style))
    sys.exit(1 if result.advice else 0)
