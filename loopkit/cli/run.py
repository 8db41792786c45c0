"""``loopkit run``: an experiment from options to verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import tomli_w

from loopkit.cli import complete, own, render
from loopkit.cli.sandbox import sandbox_option
from loopkit.errors import UsageError
from loopkit.evidence.results import STILL, Results, collect
from loopkit.experiment.config import BASE, Experiment, RunSpec, parse_judges, parse_set, read_experiment
from loopkit.experiment.resolve import resolve, start_policy
from loopkit.experiment.rundir import RunDir, check_same
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.registry.plugins import Plugins
from loopkit.report.numbers import over_seeds, sparkline
from loopkit.running.parallel import DEADLINE, require, run_all, start_server
from loopkit.running.runner import CHECK, check, preflight, preview, ready
from loopkit.stats.mitigation import told
from loopkit.system.files import LOCK, TEMPORARY, locked, to_json, write_whole

EPILOG = """\b
Examples:
  loopkit run --game context-compliance --trainer grpo
  loopkit run --game self-grading --arms loophole,control,audit --seeds 5 --set arms.audit.rate=0.3
  loopkit run --reward my_rewards.py:fn --data rows.jsonl --trusted my_rewards.py:exact
  loopkit run --game context-compliance --data requests.parquet --model path/to/model
  loopkit run --game context-compliance --judge refusal=openai:my-model@http://localhost:8000/v1
  loopkit run --game self-grading --trainer sft --arms student --set arms.student.channel=loophole \\
      --set rollouts.run=runs/…/loophole-s0 --set 'rollouts.where=false-claim=false'

The same command again resumes; a finished experiment is only printed. Exit codes: 0 done, 2 usage, 3 a run failed,
130 interrupted.
"""


@click.command(epilog=EPILOG)
@click.option("--game", shell_complete=complete.game, help="Game to play (see `loopkit list games`).")
@own.reward_option
@own.trusted_option
@click.option(
    "--trainer", shell_complete=complete.trainer, help="Trainer (see `loopkit list trainers`).  [default: grpo]"
)
@click.option(
    "--model",
    shell_complete=complete.model,
    help="tiny, tiny:DIR (a warm-up), run:DIR (a run's policy), or a Hugging Face directory or id.  [default: tiny]",
)
@click.option(
    "--arms",
    shell_complete=complete.arms,
    help="Arms, comma-separated: channels of the game, or placebo.  [default: loophole,control,placebo; with --reward "
    "and no --trusted: loophole,placebo]",
)
@click.option("--seeds", help="5 (seeds 0-4), 100-104, or 3,7.  [default: 3, which is 0-2]")
@click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE",
              help="An option of game, trainer, run, arms.<name>, rollouts or verdict. Repeatable.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), help="Experiment in TOML; the options above override it.")
@click.option("--out", type=click.Path(path_type=Path), help="Directory.  [default: runs/<game>-<spec hash>]")
@click.option("--jobs", type=click.IntRange(1),
              help="Runs side by side.  [default: one a core; 1 for a trainer that wants every GPU]")  # fmt: skip
@click.option("--deadline", type=click.FloatRange(0, min_open=True), default=DEADLINE, show_default=True,
              help="Seconds a game may take for a batch of rollouts, before its run is stopped.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@render.judge_option
@sandbox_option
@render.format_option
@render.json_option
def run(
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
    jobs: int | None,
    deadline: float,
    dry_run: bool,
    judges: Sequence[str],
    style: str,
    as_json: bool,
) -> None:
    """Train every arm and seed of an experiment, and print table and verdict."""
    tables = parse_set(settings)
    if data is not None:
        tables.setdefault("game", {})["data"] = data
    game = own.named(game, reward, trusted, tables)
    names = None if arms is None else [a.strip() for a in arms.split(",") if a.strip()]
    if names == []:
        raise UsageError("--arms names no arm. Write --arms loophole,control, or leave it out.")
    experiment = read_experiment(
        config, settings=tables, arms=names, judges=parse_judges(judges), game=game, trainer=trainer, model=model,
        seeds=seeds,
    )  # fmt: skip
    out = out or Path("runs") / f"{experiment.game}-{experiment.hash()}"
    if not dry_run and not os.path.exists(out / "results.json"):  # False where that cannot be known
        start_server()
    plugins = registry.load()
    specs = resolve(experiment, plugins)
    preflight(specs[0], plugins)
    render.tell_problems(plugins)
    side_by_side = 1 if plugins.trainer(specs[0].trainer).alone else os.cpu_count() or 1
    jobs = jobs or min(side_by_side, len(specs))
    if dry_run:
        _print_plan(specs, out, jobs, preview(specs[-1], out, plugins), as_json, style)
        return
    make(out)
    with locked(out):
        results = perform(experiment, specs, plugins, out, jobs, deadline)
    if as_json:
        render.echo_json(results.json())
    else:
        if sys.stdout.isatty():  # the page's order: verdict, curves, tables
            click.echo(sketch(results, specs, out))
        click.echo(report(results, specs[0], style))
        click.echo(f"\nRecords: {out} (results.json holds every number above)")


def perform(
    experiment: Experiment, specs: Sequence[RunSpec], plugins: Plugins, out: Path, jobs: int, deadline: float
) -> Results:
    """Claim the directory, check, train and evaluate what is not finished, and collect the results."""
    claim(out, experiment)
    for spec in specs:  # finished runs too: changed data or another game version is no resume
        RunDir(out / spec.name).belongs_to(spec)
    ready(specs, out, plugins)
    with render.Bars() as bars:
        new = not (out / CHECK).exists()
        if new:
            bars.update(experiment.game, "check", 0, 0)  # a slow machine takes a minute for it
        checked = check(specs[0], plugins, out)
        if new:
            bars.update(experiment.game, "done", 1, 1)
        start = start_policy(specs[0], plugins, bars.bar(experiment.model, "warm-up"))
        failed = run_all(specs, out, start, jobs, bars.news, deadline)
    require(failed, out)
    results = collect(specs, out, plugins, checked, experiment.verdict)
    file, found = out / "results.json", to_json(results.json())
    if not file.exists() or file.read_bytes() != found:  # the same command after the end changes nothing
        write_whole(file, found)
    return results


def make(out: Path) -> None:
    """Make the experiment's directory; one that holds something else is refused before anything is written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}. Choose another --out.") from error
    if (out / "results.json").exists():  # finished: it is only printed
        return
    if (out / "experiment.toml").exists() or any(out.glob("*/run.toml")):
        return _writable(out)
    if any(p.name != LOCK and not p.name.startswith(TEMPORARY) for p in out.iterdir()):  # else: killed before it began
        raise UsageError(f"{out} exists and is no experiment of loopkit's. Choose another --out.")
    _writable(out)


def _writable(out: Path) -> None:
    if not os.access(out, os.W_OK):
        raise UsageError(f"{out} cannot be written: it is read-only. Make it writable, or choose another --out.")


def claim(out: Path, experiment: Experiment) -> None:
    """Write experiment.toml, or refuse a directory of another experiment with the difference."""
    import tomllib

    file = out / "experiment.toml"
    data: dict[str, Json] = experiment.model_dump(mode="json")
    if not file.exists():
        write_whole(file, tomli_w.dumps(data).encode())
        return
    try:
        old = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(
            f"{file} cannot be read: {error}. Restore it, or remove it and run the same command: it is made anew, "
            "and every run still says what it was made with."
        ) from error
    check_same(out, old, data)


def _print_plan(
    specs: Sequence[RunSpec], out: Path, jobs: int, shown: Sequence[tuple[str, str]], as_json: bool, style: str
) -> None:
    if as_json:
        runs = [s.model_dump(mode="json") for s in specs]
        render.echo_json({"out": str(out), "jobs": jobs, "runs": runs, "preview": dict(shown)})
        return
    rows = [[s.name, s.channel if s.arm != BASE else "-", s.channel_options or "", s.seed] for s in specs]
    click.echo(render.table(rows, ["run", "pays", "channel options", "seed"], style))
    first = specs[0]
    size = f"{first.run.steps} steps x {first.run.prompts_per_step} prompts x {first.run.group_size} rollouts"
    held_out = f"{first.run.eval_prompts} {first.run.eval_split} prompts"
    click.echo(f"\nEach: {size}, then {held_out}; {jobs} at a time; into {out}.")
    click.echo(f"{first.trainer}: " + ", ".join(f"{k}={v}" for k, v in first.trainer_options.items()))
    for title, text in shown:
        click.echo(f"\n--- {specs[-1].name}: {title} ---\n{text.rstrip()}")


def report(results: Results, spec: RunSpec, style: str) -> str:
    """The printed result: every run, the arms side by side, discovery, and the verdict in a sentence."""
    blank = results.unmeasured
    extra = [s for s in results.scores if s not in ("task", "observed", *blank)]
    detectors = [d for d in results.moved() if d == results.headline or d not in blank]
    title = (
        f"{results.game}, trained by {results.trainer} on {results.model}; {results.split} split, in percent.\n\n"
        "Every run. Intervals of 95 % over prompts (or pairs), conditional on the seed; n counts rollouts."
    )
    rows = []
    for arm in results.arms:
        for r in (r for r in results.runs if r.arm == arm):
            cells = [render.interval(r.summary.scores.get(m)) for m in ("task", "observed")]
            cells += [render.interval(r.summary.rates.get(d)) for d in detectors]
            cells += [render.percent(e.value if (e := r.summary.scores.get(m)) else None) for m in extra]
            rows.append([arm, r.seed, *cells, _onset(r.discovery)])
    headers = ["arm", "seed", "task", "observed", *_marked(results, detectors), *extra, "onset, domination"]
    parts = [title, render.table(rows, headers, style)]
    few = " Descriptive: fewer than 5 seeds." if len(results.seeds) < 5 else ""
    parts.append(
        f"Over seeds, S = {len(results.seeds)}.{few} Mean with [95 % t interval], or (lowest to highest seed) where "
        "that is withheld. Worst: highest exploit rate."
    )
    rows = []
    for arm in results.arms:
        cells = [
            over_seeds(results.over_seeds(arm, m), results.values(arm, m))
            for m in ("task", "observed", *detectors, *extra)
        ]
        worst = max((v for v in results.values(arm, results.headline) if v is not None), default=None)
        rows.append([arm, *cells, render.percent(worst), _discovered(results, arm)])
    headers = ["arm", "task", "observed", *_marked(results, detectors), *extra, "worst", "k of S discovered"]
    parts.append(render.table(rows, headers, style))
    if left := [d for d in results.detectors if d not in (*detectors, *results.unmeasured)]:
        parts.append(f"Left out, within {100 * STILL:.0f} points of base in every run: {', '.join(left)}.")
    parts.append(_legend(results, spec))
    if results.shortcut is not None:
        parts += own.found(results, style)
    elif results.verdict is None:
        parts.append(f"No verdict: {results.no_verdict()}.")
    else:
        parts.append(f"Verdict. {results.verdict.sentence()}")
    if results.fixes != ("control",):  # of control alone the verdict speaks
        parts += [f"Mitigation. {told(arm, found)}" for arm, found in results.mitigations.items()]
    return "\n\n".join(parts)


def sketch(results: Results, specs: Sequence[RunSpec], out: Path) -> str:
    """What stands above the tables on a terminal: the verdict, and each arm's curves in training, mean over seeds."""
    rows = []
    for arm in results.arms:
        steps = [RunDir(out / s.name).steps() for s in specs if s.arm == arm != BASE]
        for name, kind in ((results.headline, "rates"), ("task", "scores"), ("observed", "scores")):
            if any(steps):
                low, high = results.bounds.get(name, (0.0, 1.0)) if kind == "rates" else (0.0, 1.0)
                title = f"exploit: {name}" if kind == "rates" else name
                rows.append([arm, title, *curve(steps, kind, name, max(low, 0.0), high)])
    verdict = results.verdict or results.shortcut
    parts = [f"Verdict. {verdict.sentence()}"] if verdict else []
    if rows:
        parts.append(f"In training, mean over seeds, from 0 to 100 % (step 0 to {specs[0].run.steps - 1}).")
        parts.append(render.table(rows, ["arm", "measure", "by step", "first", "last"]))
    return "\n\n".join(parts) + "\n"


def curve(
    runs: Sequence[Sequence[Mapping[str, Json]]], kind: str, name: str, low: float, high: float
) -> tuple[str, str, str]:
    """(sparkline, first, last) of the mean over runs of a number in steps.jsonl."""
    means = []
    for k in range(max(map(len, runs))):
        found = [s[k][kind].get(name) for s in runs if k < len(s)]
        seen = [v["value"] if kind == "rates" else v for v in found if v is not None]
        means.append(sum(seen) / len(seen) if seen else None)
    return sparkline(means, low, high), render.percent(means[0]), render.percent(means[-1])


def _marked(results: Results, detectors: Sequence[str]) -> list[str]:
    return [f"exploit: {d}" if d == results.headline else d for d in detectors]


def _discovered(results: Results, arm: str) -> str:
    found = results.discovered.get(arm)
    if found is None:
        return "-"
    return f"{round(found.value * found.n)} of {found.n} [{render.percent(found.low)}, {render.percent(found.high)}]"


def _onset(path: object) -> str:
    onset, domination = getattr(path, "onset", None), getattr(path, "domination", None)
    if path is None:
        return "-"
    return f"{'never' if onset is None else onset}, {'never' if domination is None else domination}"


def _legend(results: Results, spec: RunSpec) -> str:
    text = (
        f"Onset: first step whose rate of {results.onset_detector!r} in training is above base by a bound that holds "
        "over the whole run; domination: from there on at least 50 %. Never = not within "
        f"{spec.run.steps} steps (censored)."
    )
    if results.unmeasured:
        text += f" Not measured in any run, and left out: {', '.join(results.unmeasured)}."
    if "compliance-gap" in results.detectors and spec.game_options.get("data"):
        text += " Real requests, unpaired: style and request differ together."
    if results.model.startswith("tiny"):
        text += (
            " tiny is the embedded policy: a real but very small model, warmed up on demonstrations that hold the"
            " exploit; nothing on it is evidence about large models or spontaneous."
        )
    return text
