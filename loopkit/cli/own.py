"""``--reward`` and ``--trusted``, short for the game that takes them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from loopkit.rewards.reward import AND


def _added(context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> str | None:
    """Several rewards as one that adds them; None for none."""
    return AND.join(given) or None


reward_option = click.option(
    "--reward", multiple=True, callback=_added, metavar="[WEIGHT*]FILE.py:NAME",
    help="Your own reward, with --data: a reward function of TRL, verl, OpenRLHF or of one row (FILE.py:NAME or "
    "MODULE:NAME), or reasoning-gym:DATASET. Several add. See docs/own-reward.md.",
)  # fmt: skip
trusted_option = click.option(
    "--trusted", metavar="FILE.py:NAME", help="With --reward: a second reward, which you trust."
)
