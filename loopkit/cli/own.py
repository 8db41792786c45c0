"""``--reward`` and ``--trusted``: short for the game own-reward and its options."""

from __future__ import annotations

from typing import Any

import click

from loopkit.config import OWN_REWARD
from loopkit.errors import UsageError

reward_option = click.option(
    "--reward", metavar="FILE.py:FUNCTION",
    help="Your own reward, with --data: a TRL reward function, a verifiers rubric (MODULE:NAME), or "
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
