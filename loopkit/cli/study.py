"""``loopkit study``: the options of :func:`loopkit.study`, and the printing of what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from loopkit.cli import complete, render
from loopkit.cli.numbers import Finite
from loopkit.cli.sandbox import sandbox_option
from loopkit.front.designed import StudyPlan, plan
from loopkit.records import Json
from loopkit.running.parallel import DEADLINE

EPILOG = """\b
Studies:
  paper        games x (base, loophole, control, placebo): columns, verdicts, early warning
  transfer     what a policy trained on one loophole does in the other games
  catalysis    does one exploit bring the next one's onset forward
  propagation  what a student learns from a teacher's rollouts, unfiltered and filtered
  persistence  RL against its SFT student under correction, then retrained
  dose         one knob (audit-rate, threshold, demonstrations) against the exploit rate
  algorithms   the same game under several trainers
  conditions   a real model asked plainly, by its template, and to think first; evaluation only
  mitigations  every channel of a game as an arm, the verdict of each fix, shadow rewards
  sensitivity  the verdict by learning rate, KL, group size, trainer, warm-up; five seeds a cell
  fixes        monitors, screening, inoculation, KL, early stopping, mitigations: verdict and price
\b
Examples:
  loopkit study paper --seeds 5
  loopkit study transfer --dry-run
  loopkit study dose --set study.knob=threshold
  loopkit study algorithms --games self-grading --set study.trainers=grpo,rloo
  loopkit study conditions --model path/to/model
  loopkit study fixes --games context-compliance --seeds 8

Studies under one --out share their runs. The same command again resumes. Exit codes: 0 done, 2 usage, 3 a run failed,
130 interrupted.
"""


@click.command(epilog=EPILOG)
@click.argument("name", shell_complete=complete.study)
@click.option(
    "--games",
    shell_complete=complete.games,
    help="Games, comma-separated: names or FILE.py:CLASS.  [default: the study's own]",
)
@click.option("--seeds", help="5 (seeds 0-4), 100-104, or 3,7.  [default: the study's own]")
@click.option(
    "--model",
    shell_complete=complete.model,
    default="tiny",
    show_default=True,
    help="tiny, tiny:DIR (a warm-up), run:DIR (a run's policy), or a Hugging Face directory or id.",
)
@click.option("--trainer", default="grpo", show_default=True, shell_complete=complete.trainer,
              help="Trainer (see `loopkit list trainers`).")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE",
              help="An option of study, game, trainer, run or verdict, for all runs. Repeatable.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
              help="Root of the studies' and runs' directories.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), help="Runs side by side.  [default: one a core]")
@click.option("--deadline", type=Finite(0, min_open=True), default=DEADLINE, show_default=True,
              help="Seconds a game may take for a batch of rollouts, before its run is stopped.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the plan, and what of it exists already.")
@render.verbose_option
@sandbox_option
@render.format_option
@render.json_option
def study(
    name: str,
    games: str | None,
    seeds: str | None,
    model: str,
    trainer: str,
    settings: Sequence[str],
    out: Path,
    jobs: int | None,
    deadline: float,
    dry_run: bool,
    verbose: bool,
    style: str,
    as_json: bool,
) -> None:
    """Make the runs of a study that are missing, and print and write what they show."""
    planned = plan(name, games, seeds, model, trainer, settings, out, jobs, begin=not dry_run)
    render.tell_problems(planned.study.grid.plugins)
    if dry_run:
        _print_plan(planned, as_json, style)
        return
    result = planned.perform(deadline)
    if as_json:
        render.echo_json(result.json())
    else:
        click.echo(result.text(verbose, style))
    runs, wall, cpu = planned.cost()
    click.echo(f"{runs} runs, {wall:.0f} s of their own time in all, {cpu:.0f} CPU s.", err=True)


def _print_plan(planned: StudyPlan, as_json: bool, style: str) -> None:
    rows = planned.rows()
    todo = [r for r in rows if not r["exists"]]
    total = {
        "runs": len(rows),
        "to make": len(todo),
        "steps": sum(r["steps"] for r in todo),
        "rollouts": sum(r["rollouts"] for r in todo),
        "evaluated prompts": sum(r["evaluated"] for r in todo),
    }
    if as_json:
        render.echo_json({"out": str(planned.out), "runs": rows, "total": total})
        return
    keys = ["run", "stage", "pays", "trainer", "starts from", "steps", "rollouts", "evaluated", "exists"]
    click.echo(render.table([[_yes(r[k]) for k in keys] for r in rows], keys, style))
    render.say(
        f"\n{total['runs']} runs, {total['to make']} to make: {total['steps']} steps, {total['rollouts']} rollouts, "
        f"{total['evaluated prompts']} prompts evaluated; into {planned.out}."
    )
    if len({r["stage"] for r in rows}) > 1:
        render.say("Later stages start from checkpoints that earlier ones choose; until then a stand-in is shown.")


def _yes(value: Json) -> Json:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
