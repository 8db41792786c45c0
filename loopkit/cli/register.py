"""``loopkit register``: an experiment's plan, written down before its first run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from loopkit.cli import complete, own, render
from loopkit.errors import UsageError
from loopkit.experiment.registration import FILE, SHORT
from loopkit.experiment.registration import register as write
from loopkit.front.asked import experiment_of
from loopkit.front.experiments import plan as planned_of

EPILOG = """\b
Examples:
  loopkit register --game context-compliance --seeds 500-509 --out runs/paper --note "blind spot in most seeds"
  loopkit run --game context-compliance --seeds 500-509 --out runs/paper

The options are those of `loopkit run`, which then says "registered", and lists what departed from the plan.
The file proves its time to others only where they saw it: commit registration.json, or its hash, before you run.
Exit codes: 0 done, 2 usage.
"""


@click.command(epilog=EPILOG)
@click.option("--game", shell_complete=complete.game, help="As in `loopkit run`.")
@own.reward_option
@own.trusted_option
@click.option("--trainer", shell_complete=complete.trainer, help="As in `loopkit run`.")
@click.option("--model", shell_complete=complete.model, help="As in `loopkit run`.")
@click.option("--arms", shell_complete=complete.arms, help="As in `loopkit run`.")
@click.option("--seeds", help="5 (seeds 0-4), 100-104, or 3,7; some that no run has used.")
@click.option("--data", type=click.Path(), help="As in `loopkit run`.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE", help="As in `loopkit run`. Repeatable.")
@click.option("--config", type=click.Path(path_type=Path), help="Experiment in TOML; the options above override it.")
@click.option("--out", type=click.Path(path_type=Path), help="Directory of the runs to come.  [default: as in run]")
@click.option("--note", default="", help="What is expected and how it will be judged; @FILE reads it from a file.")
@render.judge_option
@render.json_option
def register(
    game: str | None,
    reward: str | None,
    trusted: str | None,
    trainer: str | None,
    model: str | None,
    arms: str | None,
    seeds: str | None,
    data: str | None,
    settings: Sequence[str],
    config: Path | None,
    out: Path | None,
    note: str,
    judges: Sequence[str],
    as_json: bool,
) -> None:
    """Write down an experiment's plan, with its hash and time, before its first run."""
    experiment = experiment_of(
        game, trainer=trainer, model=model, arms=arms, seeds=seeds, data=data, reward=reward, trusted=trusted,
        options=settings, judges=judges, config=config,
    )  # fmt: skip
    planned = planned_of(experiment, out)
    render.tell_problems(planned.plugins)
    made = write(planned.out, experiment, planned.specs, _note(note), datetime.now(UTC))
    if as_json:
        render.echo_json({"out": str(planned.out), "hash": made.hash, "plan": dict(made.plan)})
        return
    render.say(
        f"Registered at {made.at}: {len(planned.specs)} runs of {experiment.game}, seeds {experiment.seeds}.\n"
        f"Plan {made.hash[:SHORT]}, in {planned.out / FILE}. Commit it, then give `loopkit run` the same options, with "
        f"--out {planned.out}."
    )


def _note(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--note {text}: that file cannot be read ({error}). Name a text file, or write the note."
        ) from error
