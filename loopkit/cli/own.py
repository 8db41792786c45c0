"""``--reward`` and ``--trusted``, short for the game own-reward and its options; and what its checks are told."""

from __future__ import annotations

import click

from loopkit.checks import Report
from loopkit.front.verbose import reasons as in_words

reward_option = click.option(
    "--reward", metavar="FILE.py:FUNCTION",
    help="Your own reward, with --data: a TRL reward function, a verifiers rubric (MODULE:NAME), or "
    "reasoning-gym:DATASET. See docs/own-reward.md.",
)  # fmt: skip
trusted_option = click.option(
    "--trusted", metavar="FILE.py:FUNCTION", help="With --reward: a second reward, which you trust."
)

BLAMED = (
    "Where a complaint names assess(), specimens() or rollouts: that is where your reward is called. It must depend on "
    "the row and the completion alone: not on the others of its batch, on chance or on the time."
)
"""What is said of a user's own reward that fails its checks: its user wrote no game."""


def reasons(report: Report) -> tuple[str, ...]:
    """Why a game is unproven; of a user's own reward in the words of its user, who writes no specimens."""
    return in_words(report.name, report.reasons)
