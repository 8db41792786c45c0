"""Run directories of loopkit's own, read as arms: what was said and what was made of it, as it was recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from loopkit.elsewhere.keeping import task_of
from loopkit.errors import UsageError
from loopkit.experiment.config import BASE, RunSpec
from loopkit.experiment.rundir import RunDir, checkpoint_of, read_spec
from loopkit.experiment.shards import prompt_in, read_shard, shards, thoughts_of
from loopkit.experiment.verifying import verify
from loopkit.records import Assessment, Done, Json, Message, Rollout, Scored, Task, Turn

Tasks = Mapping[str, Task]


def evaluated(run: Path) -> bool:
    """Whether a run was evaluated on held-out prompts; never so of a run made elsewhere."""
    spec = read_spec(run)
    found = RunDir(run).read_eval(spec.game, spec.run.eval_split, checkpoint_of(spec))
    return found is not None and spec.run.eval_split != "train"


def steps(run: Path, tasks: Tasks) -> Iterator[tuple[int, list[Scored], Mapping[str, float]]]:
    """(step, its rollouts, the trainer's metrics) of a run, in order. Raises RunError where a file is damaged."""
    verify([run])
    trainer = {line["step"]: line["trainer"] for line in RunDir(run).steps()}
    for step, shard in shards(run / "rollouts"):
        if step in trainer:
            yield step, _read(shard, run / "scores" / shard.name, tasks), trainer[step]


def held_out(run: Path, tasks: Tasks) -> list[Scored]:
    """The rollouts of a run's own evaluation."""
    verify([run])
    spec = read_spec(run)
    folder = RunDir(run).own_eval_dir(spec)
    return _read(folder / "rollouts.parquet", folder / "scores.parquet", tasks)


def _read(rollouts: Path, scores: Path, tasks: Tasks) -> list[Scored]:
    pairs = zip(read_shard(rollouts), read_shard(scores), strict=True)
    return [_scored(said, made, tasks, rollouts) for said, made in pairs]


def _scored(said: Mapping[str, Json], made: Mapping[str, Json], tasks: Tasks, where: Path) -> Scored:
    asked = prompt_in(said)
    if asked is None and said["task"] not in tasks:
        raise UsageError(
            f"{where}: the game has no task {said['task']!r} any more. Use its version and data of the run."
        )
    task = tasks[said["task"]] if asked is None else task_of(said, asked)
    turns = []
    for text, thought, finish, reply in zip(
        said["said"], thoughts_of(said), said["finish"], said["replies"], strict=True
    ):
        data = json.loads(reply)
        turns.append((Turn(text, finish, thoughts=thought), Done() if data["done"] else Message.read(data)))
    rollout = Rollout(f"{said['slot']}/{said['name']}", task, tuple(turns), said["seed"])

    def part(kind: str) -> dict[str, Json]:
        return {k.partition(".")[2]: v for k, v in made.items() if k.startswith(f"{kind}.")}

    clues = {name: json.loads(value) for name, value in part("clue").items() if value is not None}
    signals = {name: value for name, value in part("signal").items() if value is not None}
    rewards = {name: value for name, value in part("reward").items() if value is not None}
    return Scored(rollout, made["occurrence"], Assessment(part("score"), signals, clues), rewards, part("flag"))


def same(specs: Sequence[RunSpec]) -> None:
    """Raise UsageError where runs were not judged alike: another game, other options or detectors."""
    first = specs[0]
    for spec in specs[1:]:
        for name in ("game", "game_version", "game_options", "detectors"):
            one, other = getattr(first, name), getattr(spec, name)
            if one != other:
                raise UsageError(
                    f"the runs {first.name} and {spec.name} cannot be compared: their {name} is {one!r:.80} and "
                    f"{other!r:.80}. Compare runs that were judged alike."
                )


def bases(runs: Mapping[int, Path]) -> dict[int, Path]:
    """Seed -> the base run that lies beside a run of loopkit's own; none unless every seed has one."""
    beside = {seed: run.parent / f"{BASE}-s{seed}" for seed, run in runs.items()}
    return beside if all((path / "run.toml").exists() for path in beside.values()) else {}
