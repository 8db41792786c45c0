"""``--reward`` and ``--trusted``, short for the game that takes them."""

from __future__ import annotations

import click

reward_option = click.option(
    "--reward", metavar="FILE.py:FUNCTION",
    help="Your own reward, with --data: a function as TRL takes it (FILE.py:FUNCTION or MODULE:FUNCTION), or "
    "reasoning-gym:DATASET. See docs/own-reward.md.",
)  # fmt: skip
trusted_option = click.option(
    "--trusted", metavar="FILE.py:FUNCTION", help="With --reward: a second reward, which you trust."
)
