"""Scored rollouts of a run made elsewhere -> loopkit's run directory, so that all that reads one reads it too.

Used by ``loopkit compare``, of logs that are whole, and by ``loopkit.watch``, step by step.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

import loopkit
from loopkit.contracts import Split
from loopkit.elsewhere.recorded import NAME, Criteria, Elsewhere
from loopkit.experiment.config import BASE, RunSettings, RunSpec
from loopkit.experiment.rundir import RunDir
from loopkit.records import Json, Message, Scored, Task
from loopkit.rollouts.metrics import step_metrics, summary
from loopkit.rollouts.scoring import Setup

UNKNOWN = "not recorded"


def spec_of(
    arm: str, seed: int, options: Criteria, steps: int, n: int, *, trainer: str = UNKNOWN, model: str = UNKNOWN
) -> RunSpec:
    """The spec of a run made elsewhere that has ``steps`` steps and is measured by ``n`` rollouts of training."""
    return RunSpec(
        game=NAME, game_version=Elsewhere.version, game_options=options.model_dump(mode="json"), arm=arm,
        channel="loophole" if arm == BASE else arm, channel_options={}, shadow=["control", "loophole"], detectors=[],
        trainer=trainer, trainer_options={}, model=model, seed=seed,
        run=RunSettings.model_validate({"steps": max(1, steps), "eval_split": "train", "eval_prompts": max(1, n)}),
    )  # fmt: skip


def spec_of_game(
    arm: str, seed: int, setup: Setup, game: str, steps: int, n: int, *, trainer: str = UNKNOWN, model: str = UNKNOWN
) -> RunSpec:
    """The same of a run whose rollouts are those of a game: it is paid by the channel of the arm's name, if any."""
    known = spec_of(arm, seed, Criteria.model_validate({}), steps, n, trainer=trainer, model=model)
    return known.model_copy(update={
        "game": game, "game_version": type(setup.game).version,
        "game_options": setup.game.options.model_dump(mode="json"),
        "channel": arm if arm in setup.shadow else "loophole", "shadow": sorted(setup.shadow),
    })  # fmt: skip


def manifest(**more: Json) -> dict[str, Json]:
    """What a run made elsewhere was recorded with; nothing of what made it is known."""
    return {
        "loopkit": loopkit.__version__, "python": platform.python_version(), "machine": platform.machine(),
        "system": platform.system(), "versions": {}, "plugins": {}, "git": None, **more,
    }  # fmt: skip


def keep_step(run: RunDir, setup: Setup, step: int, scored: Sequence[Scored], trainer: Mapping[str, float]) -> None:
    """Record a step of a run. ``trainer``: the trainer's own metrics."""
    ordered = sorted(scored, key=lambda s: s.order)
    run.record(step_metrics(setup, step, ordered, trainer, (), ()), ordered, {})


def keep_end(run: RunDir, setup: Setup, spec: RunSpec, split: Split, checkpoint: str, scored: Sequence[Scored]) -> None:
    """Keep what a run is measured by, as its evaluation, and close it."""
    ordered = sorted(scored, key=lambda s: s.order)
    run.write_eval(spec.game, split, checkpoint, ordered, summary(setup, ordered))
    run.seal(finished=True)


def task_of(row: Mapping[str, Json], asked: Json) -> Task:
    """The task of a rollout's row that keeps its prompt (``shards.ASKED``)."""
    messages = tuple(Message(role, text) for role, text in asked)
    return Task(row["task"], messages, cluster=row["cluster"])
