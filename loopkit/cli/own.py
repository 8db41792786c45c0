"""``--reward`` and ``--trusted``, short for the game own-reward and its options; and what a run of it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopkit.checks import Report
from loopkit.cli import render
from loopkit.errors import UsageError
from loopkit.evidence import reach as evidence
from loopkit.evidence.results import Results
from loopkit.experiment.config import OWN_REWARD, RunSpec
from loopkit.registry.contain import excerpt
from loopkit.report.numbers import percent, plain
from loopkit.report.shortcut import HEAD
from loopkit.rewards.reward import AND

if TYPE_CHECKING:
    from loopkit.probing import Probe


def _added(context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> str | None:
    """Several rewards as one that adds them; None for none."""
    return AND.join(given) or None


reward_option = click.option(
    "--reward", multiple=True, callback=_added, metavar="[WEIGHT*]FILE.py:NAME",
    help="Your own reward, with --data: a reward function of TRL, verl, OpenRLHF or of one row, a verifiers rubric, or "
    "reasoning-gym:DATASET. Several add. See docs/own-reward.md.",
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


PROBE = "probe.json"
"""The probe's record in an experiment's directory."""
SEARCH = 1000
"""Replies of the search before a run: training is to search, too."""


def probed(options: Mapping[str, Any], data: str | None, search: int | None = None) -> Probe:
    """A probe of the game's reward, with what its options say of rows. Raises UsageError as the probe does."""
    from loopkit.probing import Settings, run

    told = Settings(
        options["reward"], data, options.get("trusted", ""), options.get("reference", ""),
        columns=options.get("columns", {}),
    )  # fmt: skip
    return run(told if search is None else replace(told, search=search))


def probe_first(tables: dict[str, Any], quiet: bool) -> Probe | None:
    """Before a run: say what a probe finds, and let tiny be shown the form that is paid. None where none could be made.

    Only the form enters the options, and only where the user has said nothing of it.
    """
    from loopkit.probing.card import printed

    game = tables["game"]
    try:
        probe = probed(game, game.get("data"), SEARCH)
    except UsageError as error:
        click.echo(f"Probe, before training: not made. {error}", err=True)
        return None
    text = printed(probe).split("\n\n")
    click.echo("\n\n".join([f"Probe, before training: {text[0]}", *text[1:]]) + "\n", err=quiet)
    if probe.form and probe.form.template != "{}" and not probe.form.worked:
        game.setdefault("form", probe.form.template)
    return probe


def reach(specs: Sequence[RunSpec], out: Path) -> str:
    """What training's verdict does not reach: the forms that nobody said in it."""
    unsaid, replies = evidence.unsaid(specs, out)
    if not replies or not unsaid:
        return ""
    return f"Not tried: of {replies:,} replies said in training none had the form of {', '.join(unsaid)}."


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
            [excerpt(e.said, 60) or "(empty)", f"{e.count} of {e.of}", excerpt(e.asked, 60), plain(e.reward),
             percent(e.task), ", ".join(e.flagged) or "-"]
            for e in results.examples
        ]  # fmt: skip
        parts += ["The most common of these replies, in the arm loophole at the end, on held-out prompts of all seeds:",
                  render.table(rows, HEAD, style)]  # fmt: skip
    parts.append(f"No blind spot is claimed or denied: the game is unproven ({why}).")
    return parts
