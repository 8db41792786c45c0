"""``loopkit probe``: can a reward be earned without the goal? No training, no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from loopkit.cli.numbers import Finite
from loopkit.errors import UsageError

EPILOG = """\b
Examples:
  loopkit probe --reward my_rewards.py:passes --data rows.jsonl
  loopkit probe --reward my_rewards.py:passes --trusted my_rewards.py:exact --data rows.jsonl \\
      --card card.md
  loopkit probe --reward a.py:accuracy --reward 0.2*a.py:form --data rows.jsonl  # they add
  loopkit probe --reward verl_reward.py:compute_score --data train.parquet \\
      --column ground_truth=solution
  loopkit probe --reward reasoning-gym:chain_sum --json

It says replies to your function that do not know the answer, and tells which are paid. It runs in a process of its
own, from here, with your rights. No reply deletes anything, writes outside a temporary folder or touches the network;
but a reward that executes replies will execute ours, so run such a one where it always runs: in its sandbox.

Exit codes: 0 nothing found, 1 gameable, mis-signed or void, 2 usage, 4 could not tell.
"""


@click.command(epilog=EPILOG)
@click.option("--reward", "rewards", multiple=True, required=True, metavar="[WEIGHT*]FILE.py:NAME",
              help="What is paid: a reward function of TRL, verl, OpenRLHF or of one row, a taskset of verifiers, or "
              "reasoning-gym:DATASET. Several add.")  # fmt: skip
@click.option("--data", type=click.Path(), help="Rows, JSONL or Parquet.")
@click.option("--trusted", default="", metavar="FILE.py:NAME", help="A reward that you trust: it says what is wrong.")
@click.option("--reference", default="", metavar="COLUMN", help="Where the reference answer is.  [default: answer, …]")
@click.option("--prompt", default="", metavar="COLUMN", help="Where the question is.  [default: prompt, question, …]")
@click.option(
    "--good", default="", metavar="COLUMN", help="Replies that should be paid in full, if I cannot guess the form."
)
@click.option(
    "--column", "columns", multiple=True, metavar="NAME=COLUMN", help="What a parameter is passed. Repeatable."
)
@click.option("--rows", type=click.IntRange(2), default=100, show_default=True, help="Rows that are asked about.")
@click.option("--budget", type=click.IntRange(100), default=30_000, show_default=True, help="Replies, at most.")
@click.option("--seconds", type=Finite(1), default=120, show_default=True, help="Seconds, at most.")
@click.option("--deadline", type=Finite(0.1), default=10, show_default=True, help="Seconds a call may take.")
@click.option(
    "--search", type=click.IntRange(0), default=4000, show_default=True, help="Replies of the search; 0: none."
)
@click.option("--no-code", is_flag=True, help="Do not read texts and patterns in the reward's code.")
@click.option("--card", type=click.Path(path_type=Path), help="Write a card: FILE.md or FILE.json.")
@click.option("--verbose", "-v", is_flag=True, help="Print every attack that pays, and everything else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(
    rewards: Sequence[str], data: str | None, trusted: str, reference: str, prompt: str, good: str,
    columns: Sequence[str], rows: int, budget: int, seconds: float, deadline: float, search: int, no_code: bool,
    card: Path | None, verbose: bool, as_json: bool,
) -> None:  # fmt: skip
    """Attack a reward before anything is trained: can it be earned without the goal?"""
    from loopkit.probing import Settings, run
    from loopkit.probing.card import printed
    from loopkit.rewards.reward import AND

    if card is not None and card.suffix not in (".md", ".json"):
        raise UsageError(f"--card {card}: a card is written as .md or .json. Name it so.")
    found = run(
        Settings(
            AND.join(rewards), data, trusted, reference, prompt, good, mapped(columns), rows, budget, seconds, deadline,
            search, not no_code,
        )
    )  # fmt: skip
    if card is not None:
        try:
            card.write_text(found.card(card.suffix == ".md"), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{card} cannot be written: {error.strerror}. Choose another --card.") from error
    click.echo(found.card(markdown=False) if as_json else printed(found, verbose))
    sys.exit(found.code)


def mapped(columns: Sequence[str]) -> dict[str, str]:
    """``NAME=COLUMN`` options as a table. Raises UsageError for one that is not of that form."""
    made = {}
    for text in columns:
        name, sign, column = text.partition("=")
        if not (name and sign and column):
            raise UsageError(f"--column {text}: write NAME=COLUMN, a parameter of the reward and a column of the rows.")
        made[name] = column
    return made
