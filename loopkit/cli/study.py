"""``loopkit study``: a designed set of experiments, from plan to tables."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import click
import tomli_w

from loopkit.cli import complete, render
from loopkit.cli.sandbox import sandbox_option
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import BASE, parse_seeds, parse_set, validate
from loopkit.experiment.rundir import check_same
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.report.numbers import sparkline
from loopkit.running.parallel import DEADLINE, Job, start_server
from loopkit.running.runner import Event
from loopkit.studies.grid import Grid, merged
from loopkit.studies.schema import Column, Curve, Matrix, Results, Verdicts
from loopkit.studies.study import Study, perform
from loopkit.studies.write import number, rows_of
from loopkit.system.files import write_whole

STUDIES = {
    "paper": "loopkit.studies.paper:Paper",
    "transfer": "loopkit.studies.transfer:Transfer",
    "catalysis": "loopkit.studies.catalysis:Catalysis",
    "propagation": "loopkit.studies.propagation:Propagation",
    "persistence": "loopkit.studies.persistence:Persists",
    "dose": "loopkit.studies.dose:Dose",
    "algorithms": "loopkit.studies.algorithms:Algorithms",
    "conditions": "loopkit.studies.conditions:Conditions",
    "mitigations": "loopkit.studies.mitigations:Mitigations",
}
SECTIONS = ("study", "game", "trainer", "run")
EPILOG = """\b
Studies:
  paper        games x (base, loophole, control, placebo): every column, discovery paths, verdicts, early warning
  transfer     what a policy trained on one loophole does in the other games
  catalysis    does one exploit bring the next one's onset forward
  propagation  what a student learns from a teacher's rollouts, unfiltered and filtered
  persistence  RL against its SFT student under correction, then retrained
  dose         one knob (audit-rate, threshold, demonstrations) against the exploit rate
  algorithms   the same game under several trainers
  conditions   a real model asked plainly, by its template, and to think first; evaluation only
  mitigations  every channel of a game as an arm, the verdict of each fix, shadow rewards
\b
Examples:
  loopkit study paper --seeds 5
  loopkit study transfer --dry-run
  loopkit study dose --set study.knob=threshold
  loopkit study algorithms --games self-grading --set study.trainers=grpo,rloo
  loopkit study conditions --model path/to/model

Studies under one --out share their runs. The same command again resumes. Exit codes: 0 done, 2 usage, 3 a run failed,
130 interrupted.
"""


@click.command(epilog=EPILOG)
@click.argument("name", shell_complete=complete.study)
@click.option("--games", shell_complete=complete.games, help="Games, comma-separated.  [default: the study's own]")
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
              help="An option of study, game, trainer or run, for all runs. Repeatable.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
              help="Root of the studies' and runs' directories.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), help="Runs side by side.  [default: one a core]")
@click.option("--deadline", type=click.FloatRange(0, min_open=True), default=DEADLINE, show_default=True,
              help="Seconds a game may take for a batch of rollouts, before its run is stopped.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the plan, and what of it exists already.")
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
    style: str,
    as_json: bool,
) -> None:
    """Make the runs of a study that are missing, and print and write what they show."""
    if name not in STUDIES:
        raise UsageError(f"no study {name!r}. {nearest(name, STUDIES)}")
    if not dry_run:
        start_server()
    plugins = registry.load()
    made = build(name, games, seeds, model, trainer, settings, out, plugins)
    render.tell_problems(plugins)
    asked: dict[str, Json] = {
        "study": name,
        "games": list(made.grid.games),
        "seeds": list(made.grid.seeds),
        "model": model,
        "trainer": trainer,
        "options": made.options.model_dump(mode="json"),
        "settings": {k: dict(v) for k, v in made.grid.settings.items()},
    }
    directory = out / f"study-{name}-{_hash(asked)}"
    if dry_run:
        _print_plan(made, directory, as_json, style)
        return
    claim(directory, asked)
    total, ended = sum(len(merged(stage)) for stage in made.plan()), set[str]()
    with render.Bars() as bars:

        def tell(event: Event) -> None:
            bars.news(event)
            if event.phase in ("done", "failed"):
                ended.add(event.run)
                bars.update(f"study {name}", "runs", len(ended), total)

        options = {"options": asked["options"], "settings": asked["settings"]}
        results = perform(made, directory, options, jobs or os.cpu_count() or 1, tell, bars.bar, deadline)
    if as_json:
        render.echo_json(results.model_dump(mode="json"))
    else:
        if sys.stdout.isatty() and (drawn := sketch(results)):  # the page's order: verdicts, charts, tables
            click.echo(drawn)
        click.echo(report(results, style))
        click.echo(f"\nRecords: {directory} (results.json, results.csv, table.tex)")
    runs = merged([job for stage in made.plan() for job in stage])
    wall, cpu = made.grid.cost(runs)
    click.echo(f"{len(runs)} runs, {wall:.0f} s of their own time in all, {cpu:.0f} CPU s.", err=True)


def build(
    name: str, games: str | None, seeds: str | None, model: str, trainer: str, settings: Sequence[str], out: Path,
    plugins: registry.Plugins,
) -> Study:  # fmt: skip
    """The study that was asked for, its options and names checked; it makes nothing yet."""
    module, _, attribute = STUDIES[name].partition(":")
    cls: type[Study] = getattr(importlib.import_module(module), attribute)
    tables = parse_set(settings, SECTIONS)
    options = validate(cls.Options, tables.pop("study", {}), f"study {name}")
    chosen = tuple(g.strip() for g in games.split(",") if g.strip()) if games is not None else cls.preset_games(options)
    if not chosen or len(set(chosen)) < len(chosen):
        raise UsageError("--games names no game, or one twice. Write --games context-compliance,self-grading.")
    for game in chosen:
        plugins.game(game)
    grid = Grid(plugins, out, chosen, tuple(parse_seeds(seeds or cls.seeds)), model, trainer, tables)
    return cls(grid, options)


def claim(directory: Path, asked: dict[str, Json]) -> None:
    """Write study.toml, or refuse a directory of another study with the difference."""
    file = directory / "study.toml"
    if file.exists():
        try:
            check_same(directory, tomllib.loads(file.read_text(encoding="utf-8")), asked)
        except ValueError as error:
            raise UsageError(f"{file} cannot be read: {error}. Remove it: it is made anew.") from error
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}. Choose another --out.") from error
    write_whole(file, tomli_w.dumps(asked).encode())


def _hash(asked: dict[str, Json]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def _print_plan(made: Study, directory: Path, as_json: bool, style: str) -> None:
    plan = [(k, job) for k, stage in enumerate(made.plan(), 1) for job in merged(stage)]
    rows = [_planned(k, job) for k, job in plan]
    todo = [r for r in rows if not r["exists"]]
    total = {
        "runs": len(rows),
        "to make": len(todo),
        "steps": sum(r["steps"] for r in todo),
        "rollouts": sum(r["rollouts"] for r in todo),
        "evaluated prompts": sum(r["evaluated"] for r in todo),
    }
    if as_json:
        render.echo_json({"out": str(directory), "runs": rows, "total": total})
        return
    keys = ["stage", "run", "pays", "trainer", "starts from", "steps", "rollouts", "evaluated", "exists"]
    click.echo(render.table([[_yes(r[k]) for k in keys] for r in rows], keys, style))
    click.echo(
        f"\n{total['runs']} runs, {total['to make']} to make: {total['steps']} steps, {total['rollouts']} rollouts, "
        f"{total['evaluated prompts']} prompts evaluated; into {directory}."
    )
    if len({r["stage"] for r in rows}) > 1:
        click.echo("Later stages start from checkpoints that earlier ones choose; until then a stand-in is shown.")


def _planned(stage: int, job: Job) -> dict[str, Json]:
    spec = job.spec
    steps = 0 if spec.arm == BASE else spec.run.steps
    own = spec.run.eval_prompts
    return {
        "stage": stage,
        "run": job.name,
        "pays": "-" if spec.arm == BASE or spec.rollouts else spec.channel,
        "trainer": "-" if spec.arm == BASE else spec.trainer,
        "starts from": spec.model,
        "steps": steps,
        "rollouts": 0 if spec.rollouts else steps * spec.run.prompts_per_step * spec.run.group_size,
        "evaluated": own + sum(e.spec.run.eval_prompts for e in job.further),
        "exists": job.finished(),
    }


def _yes(value: Json) -> Json:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def report(results: Results, style: str) -> str:
    """A study in print: every section as a table, rates in percent."""
    made = results.made
    few = " Below 5 seeds: descriptive, and intervals over seeds are withheld." if len(made.seeds) < 5 else ""
    trained = f"trained by {made.trainer}" if any(r.steps for r in results.runs) else "not trained"
    parts = [
        f"{results.title}. {results.what}\n{made.model}, {trained}; {made.split} split, in percent; "
        f"seeds {', '.join(map(str, made.seeds))}.{few}\n"
        "Mean over seeds with [95 % interval], or (lowest to highest seed) where that is withheld."
    ]
    for section in results.sections:
        headers, rows = rows_of(section)
        if section.kind == "verdicts":
            lines = [f"{row[0]}: {row[1]}" if row[0] else row[1] for row in rows]
            parts.append("\n".join([section.title, "", *map(render.harmless, lines)]))
        else:
            parts.append(f"{render.harmless(section.title)}\n\n{render.table(rows, headers, style)}")
        parts += [render.harmless(note) for note in section.notes]
    return "\n\n".join([*parts, *results.notes])


def sketch(results: Results) -> str:
    """What stands above the tables on a terminal: verdicts, and curves and matrices as small charts; "" for neither."""
    verdicts = [i for s in results.sections if isinstance(s, Verdicts) for i in s.items]
    parts = ["\n".join(f"Verdict, {', '.join(i.keys.values())}: {i.sentence}" for i in verdicts)]
    for s in results.sections:
        if isinstance(s, Curve):
            xs = sorted({p.x for line in s.lines for p in line.points})
            found = [(line.name, {p.x: p.y.value for p in line.points}) for line in s.lines]
            lines = [(name, [at.get(x) for x in xs]) for name, at in found]
            parts.append(_chart(f"{s.title}: {s.y.title}, {s.x_title} {xs[0]:g} to {xs[-1]:g}", s.y, lines))
        elif isinstance(s, Matrix):
            lines = [(n, [c.value for c in row]) for n, row in zip(s.row_names, s.cells, strict=True)]
            parts.append(_chart(f"{s.title}: {', '.join(s.column_names)}", s.quantity, lines))
    parts = [render.harmless(p) for p in parts if p]
    return "\n\n".join(parts) + "\n" if parts else ""


def _chart(title: str, y: Column, lines: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """One row of blocks a line, all on one scale; "" where nothing was measured."""
    seen = [v for _, values in lines for v in values if v is not None]
    if not seen:
        return ""
    low, high = min(0.0, *seen), max(1.0 if y.kind == "share" else 0.0, *seen)
    rows = [[name, sparkline(values, low, high, len(values)), *_ends(values, y)] for name, values in lines]
    table = render.table(rows, ["", "chart", "first", "last"])
    return f"{title} (from {number(low, y)} to {number(high, y)})\n\n{table}"


def _ends(values: Sequence[float | None], y: Column) -> list[str]:
    return ["-" if v is None else number(v, y) for v in (values[0], values[-1])]
