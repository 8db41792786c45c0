"""``--sandbox``, on the commands that assess rollouts."""

from __future__ import annotations

import os

import click

from loopkit.sandbox import MODES, VARIABLE
from loopkit.sandbox.tiers import mode


def _carry(context: click.Context, _: click.Parameter, value: str | None) -> None:
    """Into the environment, from where the processes of the runs have it; restored when the command ends.

    Raises UsageError for an unknown mode in the environment, whether the game runs programs or not.
    """
    if value is None:
        mode()
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = value

    def restore() -> None:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before

    context.call_on_close(restore)


sandbox_option = click.option(
    "--sandbox",
    type=click.Choice(MODES),
    callback=_carry,
    expose_value=False,
    help="What holds model-written programs, in games that run them: auto is the strongest this machine offers; rlimit "
    "stops no attack.  [default: auto]",
)
