"""``loopkit eval``: rates of any policy on any game."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import click

from loopkit.cli import complete, render
from loopkit.cli import own as own_reward
from loopkit.cli.sandbox import sandbox_option
from loopkit.contracts import SPLITS, Policy, PolicyRef, Split
from loopkit.errors import UsageError
from loopkit.experiment.config import BASE, Experiment, RunSpec, parse_judges, parse_set, read_experiment
from loopkit.experiment.resolve import resolve, set_up, start_policy
from loopkit.experiment.rundir import RunDir, read_spec
from loopkit.parts.judges import JUDGES
from loopkit.registry import plugins as registry
from loopkit.rollouts.metrics import Summary, summary
from loopkit.running.runner import evaluation_name

EPILOG = """\b
Examples:
  loopkit eval --game self-grading                              # the embedded policy
  loopkit eval runs/…/loophole-s0                               # a run's final checkpoint, on its own game
  loopkit eval runs/…/loophole-s0 --game self-grading           # the same policy on another game
  loopkit eval runs/…/loophole-s0/checkpoints/step-000020       # an earlier checkpoint
  loopkit eval path/to/model --game context-compliance --data requests.parquet --prompts 200
  loopkit eval path/to/model --reward my_rewards.py:fn --data rows.jsonl
  loopkit eval openai:my-model@http://localhost:8000/v1 --game self-grading --prompts 200

Evaluations of a run are kept under its eval/ and not repeated.
"""


@click.command("eval", epilog=EPILOG)
@click.argument("policy", default="tiny", shell_complete=complete.model)
@click.option("--game", shell_complete=complete.game, help="Game to play, or FILE.py:CLASS.  [default: the run's own]")
@own_reward.reward_option
@own_reward.trusted_option
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Split of the tasks.")
@click.option("--prompts", type=click.IntRange(1), default=2000, show_default=True, help="Prompts, one rollout each.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Keys the sampling.")
@click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE", help="Game options. Repeatable.")
@render.judge_option
@sandbox_option
@render.format_option
@render.json_option
def evaluate(
    policy: str,
    game: str | None,
    reward: str | None,
    trusted: str | None,
    split: Split,
    prompts: int,
    seed: int,
    data: str | None,
    settings: Sequence[str],
    judges: Sequence[str],
    style: str,
    as_json: bool,
) -> None:
    """Play POLICY (tiny, a model, openai:MODEL@URL, a run or a checkpoint) on held-out prompts and print its rates."""
    plugins = registry.load()
    tables = parse_set(settings)
    if data is not None:
        tables.setdefault("game", {})["data"] = data
    game = own_reward.named(game, reward, trusted, tables)
    run, checkpoint = locate(Path(policy))
    own = read_spec(run) if run is not None else None
    chosen = plugins.game_name(game) if game else (own.game if own else None)
    if chosen is None:
        raise UsageError("name a game with --game (see `loopkit list games`).")
    if own is not None and own.game == chosen:
        options = {k: v for k, v in own.game_options.items() if data is None or k != "data_sha256"}
        tables["game"] = {**options, **tables.get("game", {})}
    given = parse_judges(judges)
    if own is not None and own.game == chosen:
        given = {**own.judges, **given}
    experiment = read_experiment(
        None, settings=tables, arms=["loophole"], judges=given, game=chosen, seeds=f"{seed}-{seed}"
    )
    if own is not None and own.run.max_tokens is not None:
        experiment.run.setdefault("max_tokens", own.run.max_tokens)
    spec = next(s for s in resolve(_with_trainer(experiment, plugins), plugins) if s.arm == BASE)
    with render.Bars() as bars:
        ref = _policy(policy, run, checkpoint, own, spec, plugins, bars)
        spec = spec.model_copy(update={"run": spec.run.model_copy(update={"eval_prompts": prompts})})
        name = evaluation_name(own, spec, checkpoint or "start")
        found = _evaluate(spec, ref, split, prompts, run, name, plugins, bars)
    if as_json:
        render.echo_json({"policy": policy, "game": chosen, "split": split, "seed": seed, **asdict(found)})
        return
    rows = [[f"score {k}", render.interval(e)] for k, e in found.scores.items()]
    rows += [[f"rate {k}", render.interval(e)] for k, e in found.rates.items()]
    rows += [[f"reward {k}, mean", f"{v:.3f}"] for k, v in found.rewards.items()]
    click.echo(f"{policy} on {chosen}, {split} split, seed {seed}; rates in percent, 95 % interval over prompts.\n")
    click.echo(render.table(rows, ["measure", "value"], style))


def _with_trainer(experiment: Experiment, plugins: registry.Plugins) -> Experiment:
    """Any trainer that plays will do: nothing is trained here."""
    name = next(n for n in plugins.names("trainers") if plugins.trainer(n).source == "referee")
    return experiment.model_copy(update={"trainer": name})


def locate(path: Path) -> tuple[Path | None, str | None]:
    """(run directory, checkpoint name) of a path inside a run, (None, None) of anything else.

    Raises UsageError for a whole experiment, which has several policies.
    """
    if (path / "experiment.toml").exists():
        runs = ", ".join(sorted(str(p.parent) for p in path.glob("*/run.toml")))
        raise UsageError(f"{path} is an experiment, and each of its runs has a policy. Name one: {runs or 'none yet'}.")
    if (path / "run.toml").exists():
        steps = sorted(p.name for p in (path / "checkpoints").glob("step-*"))
        if not steps and read_spec(path).arm != BASE:
            raise UsageError(f"{path} has no checkpoint yet. Run it further, or evaluate `tiny` itself.")
        return path, steps[-1] if steps else None
    if path.parent.name == "checkpoints" and (path.parent.parent / "run.toml").exists():
        return path.parent.parent, path.name
    return None, None


def _policy(
    policy: str,
    run: Path | None,
    checkpoint: str | None,
    own: RunSpec | None,
    spec: RunSpec,
    plugins: registry.Plugins,
    bars: render.Bars,
) -> PolicyRef | Policy:
    from loopkit.policy.save import reference

    if run is None or own is None:
        found: PolicyRef | Policy = start_policy(
            spec.model_copy(update={"model": policy}), plugins, bars.bar(policy, "warm-up")
        )
        return found
    start: PolicyRef = start_policy(own, plugins, bars.bar(own.model, "warm-up"))
    if checkpoint is None:
        return start
    directory = run / "checkpoints" / checkpoint
    if not directory.is_dir():
        raise UsageError(
            f"{directory} does not exist. Checkpoints there: {[p.name for p in directory.parent.glob('*')]}"
        )
    return reference(directory, start)


def _evaluate(
    spec: RunSpec,
    ref: PolicyRef | Policy,
    split: Split,
    prompts: int,
    run: Path | None,
    name: str,
    plugins: registry.Plugins,
    bars: render.Bars,
) -> Summary:
    from loopkit.rollouts.playing import evaluate as play_all
    from loopkit.running.runner import judges_of

    kept = RunDir(run) if run is not None else None
    if kept is not None and (found := kept.read_eval(spec.game, split, name)):
        return found
    with kept.lock() if kept is not None else nullcontext():  # refused now, not after the work
        setup = set_up(plugins, spec, judges_of(spec, plugins, None if run is None else run / JUDGES))
        scored = play_all(
            setup,
            _speaker(ref, spec.seed),
            seed=spec.seed,
            split=split,
            prompts=prompts,
            batch=spec.run.eval_batch,
            max_tokens=spec.run.max_tokens,
            progress=bars.bar("eval", "evaluate"),
        )
        numbers = summary(setup, scored)
        if kept is not None:
            kept.write_eval(spec.game, split, name, scored, numbers)
    return numbers


def _speaker(ref: PolicyRef | Policy, seed: int) -> Policy:
    if not isinstance(ref, PolicyRef):
        return ref  # behind a server
    from loopkit.policy.load import load

    return load(ref, seed=seed)
