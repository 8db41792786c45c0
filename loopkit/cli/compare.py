"""``loopkit compare``: the options of :func:`loopkit.compare`, and the printing of what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from loopkit.cli import complete, render
from loopkit.cli.sandbox import sandbox_option
from loopkit.elsewhere.arms import of_words
from loopkit.elsewhere.formats import FORMATS
from loopkit.errors import UsageError

EPILOG = """\b
Examples:
  loopkit compare loophole=runs/a/loophole-s* control=runs/b/control-s*  # loopkit's own runs
  loopkit compare 'loophole=trl/hack-s*' 'control=trl/fair-s*' --reward passes --trusted exact
  loopkit compare 'loophole=logs/a-s*' 'placebo=logs/p-s*' --reward r.py:passes \\
      --trusted r.py:exact --data rows.jsonl
  loopkit compare 'loophole=trl/sg-s*' 'control=trl/fair-s*' --game self-grading
  loopkit compare loophole=hacked.jsonl control=honest.jsonl --label label=hack
  loopkit compare arms.toml --out runs/compared  # [arms] loophole = ["logs/a-s0", "logs/a-s1"]

A path is a log, a directory of logs (loopkit audit reads the same) or a run directory of loopkit's; its seed stands in
its name (a-s3, seed3) or before it (3:logs/a). Arms are paired by seed. base is the start policy: completions of it, or
else the first logged step. Exit codes: 0 done, 2 usage, 3 a run or a reward failed.
"""


@click.command(epilog=EPILOG)
@click.argument("arms", nargs=-1, required=True, metavar="NAME=PATH...|FILE.toml")
@click.option(
    "--reward",
    default="",
    metavar="COLUMN|FILE.py:FUNCTION",
    help="The reward in question.  [default: the column that was paid]",
)
@click.option(
    "--trusted",
    default="",
    metavar="COLUMN|FILE.py:FUNCTION",
    help="A reward that you trust: what is paid and fails it is an exploit.",
)
@click.option("--label", default="", metavar="COLUMN[=VALUE]", help="A reader's labels: true, or VALUE, is an exploit.")
@click.option("--reward-range", metavar="LOW,HIGH", help="Between what --reward lies.  [default: 0,1]")
@click.option("--trusted-range", metavar="LOW,HIGH", help="Between what --trusted lies.  [default: 0,1]")
@click.option(
    "--passes", type=click.FloatRange(0, 1), help="Share of its range from which a reward passes.  [default: 0.5]"
)
@click.option(
    "--game", shell_complete=complete.game, help="Game that these are rollouts of: its detectors and channels judge."
)
@click.option("--set", "settings", multiple=True, metavar="game.NAME=VALUE", help="Game options. Repeatable.")
@click.option("--data", type=click.Path(), help="Rows, by prompt: columns that a function needs; or a game's data.")
@click.option("--format", "format", type=click.Choice(list(FORMATS)), help="Format of the logs.  [default: by columns]")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=COLUMN",
    help="Which column is the completion, prompt, reference or step. Repeatable.",
)
@click.option("--paid", help="Column that the trainer was paid by.  [default: reward, or the only one of a TRL log]")
@click.option(
    "--last",
    type=click.IntRange(1),
    help="Logged steps that a run is measured by.  [default: the last tenth, at least 5]",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Directory.  [default: runs/compare-<hash>]"
)
@render.verbose_option
@sandbox_option
@render.json_option
def compare(
    arms: Sequence[str], reward: str, trusted: str, label: str, reward_range: str | None, trusted_range: str | None,
    passes: float | None, game: str | None, settings: Sequence[str], data: str | None, format: str | None,
    columns: Sequence[str], paid: str | None, last: int | None, out: Path | None, verbose: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compare arms that were trained anywhere, paired by seed, as loopkit compares its own."""
    from loopkit.front import compared

    named, _ = of_words(arms)
    found = compared.compare(
        Path(arms[0]) if len(arms) == 1 and arms[0].endswith(".toml") else named,
        reward=reward, trusted=trusted, label=label, reward_range=_range("--reward-range", reward_range),
        trusted_range=_range("--trusted-range", trusted_range), passes=passes, game=game, options=settings, data=data,
        format=format, columns=dict(_pair(text) for text in columns), paid=paid, last=last, out=out,
    )  # fmt: skip
    if as_json:
        render.echo_json(found.json())
    else:
        click.echo(found.text(verbose))


def _range(option: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r}: write two numbers, LOW,HIGH, such as 0,4.") from None
    return low, high


def _pair(text: str) -> tuple[str, str]:
    role, equals, column = text.partition("=")
    if not (role and equals and column):
        raise UsageError(f"--column {text!r} is not understood: write ROLE=COLUMN, such as completion=output.")
    return role, column
