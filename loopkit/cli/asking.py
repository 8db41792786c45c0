"""The options that say what experiment is meant, shared by the commands that take one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from loopkit.cli import complete, render
from loopkit.front.asked import experiment_of
from loopkit.rewards.reward import AND


def _added(context: click.Context, parameter: click.Parameter, rewards: Sequence[str]) -> str | None:
    """Several rewards as one that adds them; None for none."""
    return AND.join(rewards) or None


reward_option = click.option(
    "--reward", multiple=True, callback=_added, metavar="[WEIGHT*]FILE.py:NAME",
    help="Your own reward, with --data: a reward function of TRL, verl, OpenRLHF or of one row (FILE.py:NAME or "
    "MODULE:NAME), or reasoning-gym:DATASET. Several add. See docs/own-reward.md.",
)  # fmt: skip
trusted_option = click.option(
    "--trusted", metavar="FILE.py:NAME", help="With --reward: a second reward, which you trust."
)
EXPERIMENT = (
    click.option("--game", shell_complete=complete.game,
                 help="Game (see `loopkit list games`), or your own: FILE.py:CLASS, which runs with your rights."),
    reward_option,
    trusted_option,
    click.option("--trainer", shell_complete=complete.trainer,
                 help="Trainer (see `loopkit list trainers`).  [default: grpo]"),
    click.option("--model", shell_complete=complete.model,
                 help="tiny, tiny:DIR (a warm-up), run:DIR (a run's policy), FILE.gguf, a Hugging Face directory or id."
                 "  [default: tiny]"),
    click.option("--arms", shell_complete=complete.arms,
                 help="Arms, comma-separated: channels of the game, or placebo; with interventions, loophole+penalty.  "
                 "[default: loophole,control,placebo; with --reward and no --trusted: loophole,placebo]"),
    click.option("--seeds", help="5 (seeds 0-4), 100-104, or 3,7.  [default: 3, which is 0-2]"),
    click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them."),
    click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE",
                 help="An option of game, trainer, run, arms.<name>, rollouts or verdict. Repeatable."),
    click.option("--config", type=click.Path(path_type=Path),
                 help="Experiment in TOML; the options above override it."),
    render.judge_option,
)  # fmt: skip


def asks_for_experiment(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options EXPERIMENT, and what they say as its argument ``experiment``."""

    @wraps(command)
    def asking(
        *, game: str | None, reward: str | None, trusted: str | None, trainer: str | None, model: str | None,
        arms: str | None, seeds: str | None, data: str | None, settings: Sequence[str], config: Path | None,
        judges: Sequence[str], **others: Any,
    ) -> Any:  # fmt: skip
        experiment = experiment_of(
            game, trainer=trainer, model=model, arms=arms, seeds=seeds, data=data, reward=reward, trusted=trusted,
            options=settings, judges=judges, config=config,
        )  # fmt: skip
        return command(experiment=experiment, **others)

    for option in reversed(EXPERIMENT):
        asking = option(asking)
    return asking
