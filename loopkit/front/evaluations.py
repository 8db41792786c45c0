"""``loopkit.evaluate``: rates of any policy on any game. The command line calls the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from loopkit.contracts import SPLITS, Policy, PolicyRef, Split
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import BASE, Experiment, RunSpec, read_experiment
from loopkit.experiment.manifest import read_manifest
from loopkit.experiment.resolve import resolve, set_up, start_policy
from loopkit.experiment.rundir import RunDir, read_spec
from loopkit.front.asked import Options, Reward, judges_of, own_reward, tables_of
from loopkit.front.progress import Progress, counted, listening, opening
from loopkit.front.tables import Table, wrapped
from loopkit.parts.judges import JUDGES
from loopkit.records import Json, Message, Scored
from loopkit.registry import plugins as registry
from loopkit.report.numbers import interval
from loopkit.rollouts.metrics import Summary, summary
from loopkit.running.runner import Listener, evaluation_name
from loopkit.running.runner import judges_of as judges_for
from loopkit.system.files import write_whole


@dataclass(frozen=True)
class Evaluation:
    """What a policy did on a game's held-out prompts; intervals are over prompts, conditional on the seed."""

    policy: str
    game: str
    split: str
    seed: int
    summary: Summary

    def json(self) -> dict[str, Json]:
        """Everything, as ``loopkit eval --json`` prints it."""
        head = {"policy": self.policy, "game": self.game, "split": self.split, "seed": self.seed}
        return {**head, **asdict(self.summary)}

    def rows(self) -> list[dict[str, Json]]:
        """Plain dicts, one a measure: shares with their interval (0.1 is 10 %), and mean rewards."""
        return self.table().rows()

    def table(self) -> Table:
        """Scores, rates and mean rewards."""
        cells, records = [], []
        for kind, estimates in (("score", self.summary.scores), ("rate", self.summary.rates)):
            for name, e in estimates.items():
                cells.append((f"{kind} {name}", interval(e)))
                records.append({"kind": kind, "measure": name, **(e.json() if e else {"value": None})})
        for name, value in self.summary.rewards.items():
            cells.append((f"reward {name}, mean", f"{value:.3f}"))
            records.append({"kind": "reward", "measure": name, "value": value})
        return Table(("measure", "value"), tuple(cells), tuple(records))

    def text(self, style: str = "plain") -> str:
        """As it is printed."""
        title = (
            f"{self.policy} on {self.game}, {self.split} split, seed {self.seed}; rates in percent, 95 % interval over "
            "prompts."
        )
        return f"{wrapped(title)}\n\n{self.table().text(style)}"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def evaluate(
    policy: str | Path = "tiny",
    game: str | None = None,
    *,
    prompts: int = 2000,
    seed: int = 0,
    split: Split = "test",
    data: str | Path | None = None,
    reward: Reward | None = None,
    trusted: Reward | None = None,
    options: Options = (),
    judges: Mapping[str, str] | Sequence[str] = (),
    rollouts: str | Path | None = None,
    progress: Progress = None,
) -> Evaluation:
    """Play a policy on held-out prompts, one rollout each. Evaluations of a run are kept in it and not repeated.

    ``policy``: "tiny", a model's directory or id, "openai:MODEL@URL", a run's directory (its last checkpoint, on its
    own game unless ``game`` names another) or one of its checkpoints. ``seed`` keys the sampling. ``rollouts``: a file
    for what was asked and said, with scores, flags and rewards, as JSON lines; a run keeps its evaluations' anyhow.
    """
    if split not in SPLITS:
        raise UsageError(f"split {split!r}: there is none of that name. {nearest(split, SPLITS)}")
    if prompts < 1 or seed < 0:
        raise UsageError(f"prompts={prompts}, seed={seed}: at least one prompt is played, and a seed is not negative.")
    named, plugins = str(policy), registry.load()
    tables = tables_of(options)
    if data is not None:
        tables.setdefault("game", {})["data"] = str(data)
    game = own_reward(game, reward, trusted, tables)
    run, checkpoint = locate(Path(named))
    run_spec = read_spec(run) if run is not None else None
    chosen = plugins.game_name(game) if game else (run_spec.game if run_spec else None)
    if chosen is None:
        raise UsageError("name a game with --game (see `loopkit list games`).")
    by_role = judges_of(judges)
    if run_spec is not None and run_spec.game == chosen:
        kept = {k: v for k, v in run_spec.game_options.items() if data is None or k != "data_sha256"}
        tables["game"] = {**kept, **tables.get("game", {})}
        by_role = {**run_spec.judges, **by_role}
    experiment = read_experiment(
        None, settings=tables, arms=["loophole"], judges=by_role, game=chosen, seeds=f"{seed}-{seed}",
        model=named if run_spec is None else run_spec.model,
    )  # fmt: skip
    before = run_spec.run.model_dump(include={"max_tokens", "thought_tokens", "markers"}) if run_spec else {}
    for name, value in before.items():
        if value:
            experiment.run.setdefault(name, value)
    spec = next(s for s in resolve(_with_trainer(experiment, plugins), plugins) if s.arm == BASE)
    with listening(progress) as listen:
        ref = _policy(named, run, checkpoint, run_spec, spec, plugins, listen)
        spec = spec.model_copy(update={"run": spec.run.model_copy(update={"eval_prompts": prompts})})
        name = evaluation_name(run_spec, spec, checkpoint or "start")
        if isinstance(ref, PolicyRef):
            from loopkit.policy.precision import choose

            ref = choose(spec, ref, read_manifest(run) if run is not None else None)
        summary = _evaluate(
            spec, ref, split, prompts, run, name, plugins, listen, None if rollouts is None else Path(rollouts)
        )
    return Evaluation(named, chosen, split, seed, summary)


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
    run_spec: RunSpec | None,
    spec: RunSpec,
    plugins: registry.Plugins,
    listen: Listener,
) -> PolicyRef | Policy:
    from loopkit.policy.save import reference, require_whole

    if run is None or run_spec is None:
        opened: PolicyRef | Policy = start_policy(
            spec.model_copy(update={"model": policy}),
            plugins,
            opening(listen, policy),
        )
        return opened
    start: PolicyRef = start_policy(run_spec, plugins, opening(listen, run_spec.model))
    if checkpoint is None:
        return start
    directory = run / "checkpoints" / checkpoint
    if not directory.is_dir():
        raise UsageError(
            f"{directory} does not exist. Checkpoints there: {[p.name for p in directory.parent.glob('*')]}"
        )
    require_whole(directory)
    return reference(directory, start)


def _evaluate(
    spec: RunSpec,
    ref: PolicyRef | Policy,
    split: Split,
    prompts: int,
    run: Path | None,
    name: str,
    plugins: registry.Plugins,
    listen: Listener,
    rollouts: Path | None,
) -> Summary:
    from loopkit.rollouts.playing import evaluate as play_all

    kept = RunDir(run) if run is not None else None
    if kept is not None and rollouts is None and (earlier := kept.read_eval(spec.game, split, name)):
        return earlier
    with kept.lock() if kept is not None else nullcontext():  # refused now, not after the work
        setup = set_up(plugins, spec, judges_for(spec, plugins, None if run is None else run / JUDGES))
        scored = play_all(
            setup,
            _speaker(ref, spec.seed),
            seed=spec.seed,
            split=split,
            prompts=prompts,
            batch=spec.run.eval_batch,
            overrides=spec.run.eval_overrides(),
            group=spec.run.eval_samples,
            drawn=spec.run.eval_draw == "seed",
            progress=counted(listen, "eval", "evaluate"),
        )
        numbers = summary(setup, scored)
        if rollouts is not None:
            write_whole(rollouts, b"".join(_line(one) for one in scored))
        if kept is not None:
            kept.write_eval(spec.game, split, name, scored, numbers)
    return numbers


def _line(scored: Scored) -> bytes:
    """A rollout as a line of JSON."""
    rollout = scored.rollout
    messages = [{"role": m.role, "content": m.content} for m in rollout.task.messages]
    for turn, reply in rollout.steps:
        messages.append({"role": "assistant", "content": turn.text, "finish": turn.finish})
        if isinstance(reply, Message):
            messages.append({"role": reply.role, "content": reply.content})
    data = {
        "task": rollout.task.id, "messages": messages, "scores": dict(scored.assessment.scores),
        "flags": dict(scored.flags), "rewards": dict(scored.rewards),
    }  # fmt: skip
    return (json.dumps(data, ensure_ascii=False) + "\n").encode()


def _speaker(ref: PolicyRef | Policy, seed: int) -> Policy:
    if not isinstance(ref, PolicyRef):
        return ref  # behind a server
    from loopkit.policy.load import load

    return load(ref, seed=seed)
