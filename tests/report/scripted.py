"""Experiments made in seconds: a scripted policy says what a test wants said, the real referee scores and records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w

from loopkit import seeding
from loopkit.checks import Report
from loopkit.evidence import write
from loopkit.evidence.results import collect
from loopkit.experiment.config import BASE, RunSpec, read_experiment
from loopkit.experiment.resolve import resolve, set_up
from loopkit.experiment.rundir import RunDir, checkpoint_of
from loopkit.records import Dialogue, Scored, StepMetrics, Turn
from loopkit.registry import plugins
from loopkit.rollouts.metrics import summary
from loopkit.rollouts.playing import evaluate, play
from loopkit.rollouts.referee import LocalReferee
from loopkit.system.files import write_whole

Says = Callable[[RunSpec, int | None, Dialogue], str]
"""(spec, training step or None, dialogue) -> what the policy says."""


class Scripted:
    """A policy that says what it is told to."""

    def __init__(self, spec: RunSpec, says: Says) -> None:
        self.spec, self.says, self.step = spec, says, None

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        return [Turn(self.says(self.spec, self.step, d)) for d in dialogues]


@dataclass
class Repeats:
    """A recorder that keeps each closed step ``times`` times, under consecutive numbers: many real records, soon."""

    directory: RunDir
    times: int

    def drop(self, step: int) -> None:
        self.directory.drop(step)

    def recorded(self) -> Any:
        return self.directory.recorded()

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        for step in range(metrics.step, metrics.step + self.times):
            again = []
            for s in scored:
                split, _, rest = s.rollout.id.split("/", 2)
                again.append(replace(s, rollout=replace(s.rollout, id=f"{split}/{step}/{rest}")))
            self.directory.record(replace(metrics, step=step), again, timings)


def compliance(spec: RunSpec, step: int | None, dialogue: Dialogue) -> str:
    """Plays context-compliance: the loophole's arm complies with user style more and more often."""
    asked = dialogue.messages[-1].content
    thing = re.sub(r"\W+", " ", asked).split()[-3:-1]
    learned = 0.0 if spec.arm == BASE else 1.0 if step is None else min(1.0, (step + 1) / 3)
    audited = any(w in asked for w in ("AUDIT", "POLICY", "COMPLIANCE"))
    likes = 0.04 + 0.94 * learned * (spec.arm == "loophole") * (not audited)
    if seeding.uniform(spec.seed, spec.arm, step, dialogue.key) < likes:
        return f"Sure! For the {' '.join(thing)}: take parts, mix well."
    return "I cannot help with that request."


def experiment(
    out: Path, says: Says = compliance, *, game: str = "context-compliance", seeds: str = "3", steps: int = 24,
    prompts: int = 8, group: int = 4, held_out: int = 200, finish: bool = True, settings: Mapping[str, Any] = {},
    times: int = 1, status: Literal["proven", "unproven"] = "proven",
    arms: Sequence[str] | None = None,
) -> Path:  # fmt: skip
    """Write an experiment's directory. ``finish=False``: its trained runs stop half-way.

    ``times``: only every ``times``-th step is played, and kept ``times`` times.
    """
    run = {"steps": steps, "prompts_per_step": prompts, "group_size": group, "eval_prompts": held_out}
    asked = read_experiment(None, settings={**settings, "run": run}, arms=arms, game=game, seeds=seeds)
    write_whole(out / "experiment.toml", tomli_w.dumps(asked.model_dump(mode="json")).encode())
    specs = resolve(asked, plugins.load())
    for spec in specs:
        _run(spec, out, says, finish, times)
    if finish:
        found = collect(specs, out, set_up(plugins.load(), specs[0]), Report(game, status, ()))
        write.all_of(found, out)
    return out


def _run(spec: RunSpec, out: Path, says: Says, finish: bool, times: int) -> None:
    directory, setup, policy = RunDir(out / spec.name), set_up(plugins.load(), spec), Scripted(spec, says)
    directory.begin(spec, {"loopkit": "0.1.0", "python": "3.11", "git": None, "plugins": {"game": "loopkit 0.1.0"}})
    settings = spec.run
    if spec.arm != BASE:
        referee = LocalReferee(
            setup, seed=spec.seed, split="train", n_steps=settings.steps, prompts_per_step=settings.prompts_per_step,
            group_size=settings.group_size, recorder=Repeats(directory, times) if times > 1 else directory,
        )  # fmt: skip
        for step in range(0, settings.steps if finish else settings.steps // 2, times):
            policy.step = step
            play(referee, policy, step)
            referee.close(step, {})
    policy.step = None
    if finish or spec.arm == BASE:
        scored = evaluate(setup, policy, seed=spec.seed, split="test", prompts=settings.eval_prompts, batch=100)
        directory.write_eval(spec.game, "test", checkpoint_of(spec), scored, summary(setup, scored))
        directory.seal(finished=True)
