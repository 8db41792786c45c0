"""``--reward`` and ``--trusted``, short for the game own-reward and its options; and what a run of it prints."""

from __future__ import annotations

from typing import Any

import click

from loopkit.checks import Report
from loopkit.cli import render
from loopkit.errors import UsageError
from loopkit.evidence.results import Results
from loopkit.experiment.config import OWN_REWARD
from loopkit.registry.contain import excerpt
from loopkit.report.numbers import percent, plain
from loopkit.report.shortcut import HEAD

reward_option = click.option(
    "--reward", metavar="FILE.py:FUNCTION",
    help="Your own reward, with --data: a function as TRL takes it (FILE.py:FUNCTION or MODULE:FUNCTION), or "
    "reasoning-gym:DATASET. See docs/own-reward.md.",
)  # fmt: skip
trusted_option = click.option(
    "--trusted", metavar="FILE.py:FUNCTION", help="With --reward: a second reward, which you trust."
)


def named(game: str | None, reward: str | None, trusted: str | None, tables: dict[str, Any]) -> str | None:
    """The game's name; the two become options of own-reward in ``tables``. Raises UsageError beside another game."""
    given = {"reward": reward, "trusted": trusted}
    options = {k: v for k, v in given.items() if v is not None}
    if not options:
        return game
    if game not in (None, OWN_REWARD):
        raise UsageError(f"--{next(iter(options))} is a game of its own, {OWN_REWARD}. Leave --game {game} out.")
    tables["game"] = {**tables.get("game", {}), **options}
    return OWN_REWARD


BLAMED = (
    "Where a complaint names assess(), specimens() or rollouts: that is where your reward is called. It must depend on "
    "the row and the completion alone: not on the others of its batch, on chance or on the time."
)
"""What is said of a user's own reward that fails its checks: its user wrote no game."""


def reasons(report: Report) -> tuple[str, ...]:
    """Why a game is unproven; of a user's own reward in the words of its user, who writes no specimens."""
    if report.name != OWN_REWARD:
        return report.reasons
    return ("No exploit of this reward was shown beforehand. It runs, and gets no blind-spot verdict.",)


def found(results: Results, style: str) -> list[str]:
    """What is printed of an unproven game: whether a shortcut was found, and what was said where a detector rose."""
    if results.shortcut is None:
        return []
    why = "; ".join(reason.partition(". ")[0].rstrip(".") for reason in reasons(results.checked))
    parts = [f"Verdict. {results.shortcut.sentence()}"]
    if results.examples:
        rows = [
            [excerpt(e.said, 60), f"{e.count} of {e.of}", excerpt(e.asked, 60), plain(e.reward), percent(e.task),
             ", ".join(e.flagged) or "-"]
            for e in results.examples
        ]  # fmt: skip
        parts += ["The most common of these replies, in the arm loophole at the end, on held-out prompts of all seeds:",
                  render.table(rows, HEAD, style)]  # fmt: skip
    parts.append(f"No blind spot is claimed or denied: the game is unproven ({why}).")
    return parts
