"""``loopkit register``: an experiment's plan, written down before its first run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from loopkit.cli import asking, render
from loopkit.errors import UsageError
from loopkit.experiment.config import Experiment
from loopkit.experiment.registration import FILE, SHORT
from loopkit.experiment.registration import register as write
from loopkit.front.experiments import plan as planned_of

EPILOG = """\b
Examples:
  loopkit register --game context-compliance --seeds 500-509 --out runs/paper \\
      --note "blind spot in most seeds"
  loopkit run --game context-compliance --seeds 500-509 --out runs/paper

The options are those of `loopkit run`, which then says "registered", and lists what departed from the plan.
The file proves its time to others only where they saw it: commit registration.json, or its hash, before you run.
Exit codes: 0 done, 2 usage.
"""


@click.command(epilog=EPILOG)
@asking.asks_for_experiment
@click.option("--out", type=click.Path(path_type=Path), help="Directory of the runs to come.  [default: as in run]")
@click.option("--note", default="", help="What is expected and how it will be judged; @FILE reads it from a file.")
@render.json_option
def register(
    experiment: Experiment,
    out: Path | None,
    note: str,
    as_json: bool,
) -> None:
    """Write down an experiment's plan, with its hash and time, before its first run."""
    planned = planned_of(experiment, out)
    render.tell_problems(planned.plugins)
    registration = write(planned.out, experiment, planned.specs, _note(note), datetime.now(UTC))
    if as_json:
        render.echo_json({"out": str(planned.out), "hash": registration.hash, "plan": dict(registration.plan)})
        return
    render.say(
        f"Registered at {registration.at}: {len(planned.specs)} runs of {experiment.game}, seeds {experiment.seeds}.\n"
        f"Plan {registration.hash[:SHORT]}, in {planned.out / FILE}. Commit it, then give `loopkit run` the same "
        f"options, with --out {planned.out}."
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
