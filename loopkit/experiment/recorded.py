"""A RolloutSet: recorded rollouts of another run, filtered, shuffled, in batches. Words only."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loopkit import seeding
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import RolloutQuery
from loopkit.experiment.resolve import build_game
from loopkit.experiment.rundir import read_spec
from loopkit.experiment.shards import read_rollouts, read_shard, shards
from loopkit.experiment.verifying import verify
from loopkit.records import Dialogue, Json, Message, Rollout, StepMetrics
from loopkit.registry.plugins import Plugins
from loopkit.rollouts.referee import Recorder

CONDITION = re.compile(r"\s*([\w-]+)\s*(<=|>=|!=|=|<|>)\s*([\w.+-]+)\s*")
OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip


class RecordedRollouts:
    """The rollouts that a query selects, ``size`` a batch, reshuffled each epoch; pure in (seed, step)."""

    def __init__(
        self, query: RolloutQuery, plugins: Plugins, *, n_steps: int, size: int, seed: int, recorder: Recorder
    ) -> None:
        self.n_steps, self.size, self.seed, self.recorder = n_steps, size, seed, recorder
        self.dialogues = select(query, plugins)
        self._epoch, self._order = -1, list[int]()

    def resume(self, step: int) -> None:
        self.recorder.drop(step)

    def batch(self, step: int) -> list[Dialogue]:
        """(size,) dialogues."""
        n = len(self.dialogues)
        out = []
        for k in range(step * self.size, (step + 1) * self.size):
            if self._epoch != k // n:
                self._epoch = k // n
                self._order = seeding.shuffled(range(n), self.seed, "recorded order", self._epoch)
            out.append(self.dialogues[self._order[k % n]])
        return out

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        """Record the trainer's numbers; nothing was played, so there are no rollouts, rewards or rates."""
        empty = StepMetrics(step, self.size, {}, {}, {}, None, dict(metrics))
        self.recorder.record(empty, [], timings or {})


def select(query: RolloutQuery, plugins: Plugins) -> list[Dialogue]:
    """The dialogues of a run's recorded rollouts that meet every condition of ``query.where``."""
    run = Path(query.run)
    spec = read_spec(run)
    verify([run])
    game = build_game(plugins, spec.game, spec.game_options)
    conditions = parse_where(query.where)
    out = []
    for step, path in shards(run / "rollouts"):
        if step < query.first_step or (query.last_step is not None and step > query.last_step):
            continue
        scores = read_shard(run / "scores" / path.name)
        rollouts = read_rollouts(path, game)
        tokens = {f"{row['slot']}/{row['name']}": row["tokens"] for row in read_shard(path)}
        if len(scores) != len(rollouts):
            raise UsageError(
                f"{run}: scores and rollouts of step {step} differ in length. Run `loopkit rescore {run}`."
            )
        for (rollout, _), row in zip(rollouts, scores, strict=True):
            if all(met(row, *condition) for condition in conditions):
                out.append(Dialogue(rollout.id, learnt(rollout, tokens[rollout.id], run)))
    if not out:
        raise UsageError(f"{run} has no recorded rollout that meets {query.where or 'the step range'!r}. Widen it.")
    return out


def learnt(rollout: Rollout, tokens: Sequence[int | None], run: Path) -> tuple[Message, ...]:
    """The dialogue that a rollout teaches, with the thoughts before its answers.

    ``tokens``: of each turn, None where its policy gave none. Raises UsageError for thoughts without: those of a model
    behind a server are its server's account, and not what it sampled.
    """
    if any(rollout.thoughts) and None in tokens:
        raise UsageError(
            f"{run}: {rollout.id!r} holds thoughts that came without tokens, from a model behind a server. They are "
            "that server's account of its reasoning and cannot be trained on. Record rollouts of a local model."
        )
    return tuple(rollout.messages(whole=True))


def parse_where(text: str) -> list[tuple[str, str, Json]]:
    """ "complied=false, task>=0.5" -> conditions on flags and scores."""
    out: list[tuple[str, str, Json]] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = CONDITION.fullmatch(part)
        if not match:
            raise UsageError(f"rollouts.where: {part!r} is not a condition. Write a flag or score, as in task>=0.5.")
        name, op, word = match.groups()
        if word in ("true", "false", "none"):
            value: Json = {"true": True, "false": False, "none": None}[word]
        else:
            try:
                value = float(word)
            except ValueError as error:
                raise UsageError(
                    f"rollouts.where: {word!r} in {part!r} must be true, false, none or a number."
                ) from error
        out.append((name, op, value))
    return out


def met(row: Mapping[str, Json], name: str, op: str, value: Json) -> bool:
    """Whether a score row meets a condition. An abstaining flag equals none and nothing else."""
    for column in (f"flag.{name}", f"score.{name}"):
        if column in row:
            cell = row[column]
            if op in ("=", "!="):
                return OPERATORS[op](cell, value)
            return cell is not None and value is not None and OPERATORS[op](cell, value)
    known = [c.split(".", 1)[1] for c in row if c.startswith(("flag.", "score."))]
    raise UsageError(f"rollouts.where: the run has no flag or score {name!r}. {nearest(name, known)}")
