"""``loopkit run``: the options of :func:`loopkit.run`, and the printing of what it gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from loopkit.cli import asking, render
from loopkit.cli.numbers import Finite
from loopkit.cli.sandbox import sandbox_option
from loopkit.experiment.config import BASE, Experiment, on_tiny, ranges
from loopkit.front.experiments import Plan, plan
from loopkit.front.probed import before
from loopkit.running.parallel import DEADLINE

EPILOG = """\b
Examples:
  loopkit run --game context-compliance --trainer grpo
  loopkit run --game self-grading --arms loophole,audit --seeds 5 --set arms.audit.rate=0.3
  loopkit run --game context-compliance --arms loophole,loophole+penalty,loophole+kl  # fixes
  loopkit run --game my_game.py:Compare
  loopkit run --reward my_rewards.py:fn --data rows.jsonl --trusted my_rewards.py:exact
  loopkit run --game context-compliance --data requests.parquet --model path/to/model
  loopkit run --game context-compliance --judge refusal=openai:my-model@http://localhost:8000/v1
  loopkit run --game self-grading --trainer sft --arms student \\
      --set arms.student.channel=loophole --set rollouts.run=runs/…/loophole-s0 \\
      --set 'rollouts.where=false-claim=false'

The same command again resumes; a finished experiment is only printed: the answer first, --verbose for every seed.
Exit codes: 0 done, 2 usage, 3 a run failed, 130 interrupted.
"""


@click.command(epilog=EPILOG)
@asking.asks_for_experiment
@click.option("--out", type=click.Path(path_type=Path), help="Directory.  [default: runs/<game>-<spec hash>]")
@click.option("--jobs", type=click.IntRange(1),
              help="Runs side by side.  [default: one a core; 1 for a trainer that wants every GPU]")  # fmt: skip
@click.option("--deadline", type=Finite(0, min_open=True), default=DEADLINE, show_default=True,
              help="Seconds a game may take for a batch of rollouts, before its run is stopped.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@render.verbose_option
@sandbox_option
@render.format_option
@render.json_option
def run(
    experiment: Experiment,
    out: Path | None,
    jobs: int | None,
    deadline: float,
    dry_run: bool,
    verbose: bool,
    style: str,
    as_json: bool,
) -> None:
    """Train every arm and seed of an experiment, and print what it showed."""
    experiment, found = before(experiment)
    if found is not None:
        click.echo(f"{found.text()}\n", err=as_json)
    planned = plan(experiment, out, jobs, begin=not dry_run, found=found)
    render.tell_problems(planned.plugins)
    if dry_run:
        _print_plan(planned, as_json, style)
        return
    result = planned.perform(deadline)
    if as_json:
        render.echo_json(result.json())
    else:
        click.echo(result.text(verbose, style))


def _print_plan(planned: Plan, as_json: bool, style: str) -> None:
    specs, shown, estimate = planned.specs, planned.preview(), planned.cost()
    doubts = planned.doubts(estimate)
    if as_json:
        runs = [s.model_dump(mode="json") for s in specs]
        about = {"cost": estimate and dataclasses.asdict(estimate), "doubts": doubts, "preview": dict(shown)}
        render.echo_json({"out": str(planned.out), "jobs": planned.jobs, "runs": runs, **about})
        return
    arms = list({s.arm: s for s in specs}.values())
    headers = ["arm", "pays", "channel options"]
    rows = [[s.arm, s.channel if s.arm != BASE else "-", s.channel_options or ""] for s in arms]
    if any(s.interventions for s in arms):
        headers.append("and does")
        for row, spec in zip(rows, arms, strict=True):
            row.append(", ".join(f"{i.name} {i.options or ''}".strip() for i in spec.interventions))
    click.echo(render.table(rows, headers, style))
    first = specs[0]
    seeds = ranges([s.seed for s in specs if s.arm == first.arm])
    render.say(f"\nSeeds {seeds} of each arm: {len(specs)} runs.")
    size = f"{first.run.steps} steps x {first.run.prompts_per_step} prompts x {first.run.group_size} rollouts"
    held_out = f"{first.run.eval_prompts} {first.run.eval_split} prompts"
    render.say(f"Each: {size}, then {held_out}; {planned.jobs} at a time; into {planned.out}.")
    render.say(f"{first.trainer}: " + ", ".join(f"{k}={v}" for k, v in first.trainer_options.items()))
    if not on_tiny(first.model):
        for line in [*([estimate.text()] if estimate else []), *doubts]:
            render.say(line)
        render.say(f"Whether it can play, and seconds measured: loopkit fit --game {first.game} --model {first.model}")
    for title, text in shown:  # a file's contents, as they would be written
        click.echo(f"\n--- {specs[-1].name}: {title} ---\n{text.rstrip()}")
