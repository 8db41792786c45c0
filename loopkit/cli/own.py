"""``--reward`` and ``--trusted``, short for the game that takes them; and what a run of an unproven game prints."""

from __future__ import annotations

from typing import Any

import click

from loopkit.cli import render
from loopkit.errors import UsageError
from loopkit.evidence.results import Results
from loopkit.registry import plugins as registry
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
    """The game's name; the two become options, in ``tables``, of the game that declares them. UsageError beside another
    game.
    """
    options = {k: v for k, v in {"reward": reward, "trusted": trusted}.items() if v is not None}
    if not options:
        return game
    flag = next(iter(options))
    taker = registry.load().with_flag(flag)
    if game not in (None, taker):
        raise UsageError(f"--{flag} is a game of its own, {taker}. Leave --game {game} out.")
    tables["game"] = {**tables.get("game", {}), **options}
    return taker


def found(results: Results, style: str) -> list[str]:
    """What is printed of an unproven game: whether a shortcut was found, and what was said where a detector rose."""
    if results.shortcut is None:
        return []
    why = "; ".join(reason.partition(". ")[0].rstrip(".") for reason in results.checked.reasons)
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
