"""Whether a policy plays train prompts as it plays held-out ones: base rates of the two, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loopkit.contracts import Split
from loopkit.errors import UsageError
from loopkit.experiment.config import read_experiment
from loopkit.experiment.resolve import resolve, set_up
from loopkit.front.progress import Progress, counted, listening, opening
from loopkit.records import Estimate, Json, Task
from loopkit.registry import plugins as registry
from loopkit.rollouts.halves import shown
from loopkit.rollouts.metrics import summary
from loopkit.running.runner import open_policy
from loopkit.stats.contrasts import minus

MARGIN = 0.05
"""How far train and test may lie apart, as a share, where the interval says that they do."""


@dataclass(frozen=True)
class Pair:
    """A score or rate on train and on test prompts; ``low`` and ``high`` bound train minus test."""

    measure: str
    train: Estimate
    test: Estimate
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        """Whether they may be one number: the interval holds 0, or they lie within MARGIN."""
        return self.low <= 0 <= self.high or abs(self.train.value - self.test.value) <= MARGIN


def compare(
    game: str,
    model: str,
    options: Mapping[str, Json],
    *,
    prompts: int = 1000,
    seed: int = 0,
    unseen: bool = False,
    progress: Progress | bool = True,
) -> list[Pair]:
    """Every score and rate of a model on ``prompts`` prompts of train and of test.

    ``unseen``: of train, the half that a warm-up with ``split=half`` was not shown. Raises UsageError as
    ``loopkit.evaluate`` does.
    """
    plugins = registry.load()
    experiment = read_experiment(None, settings={"game": dict(options)}, arms=["loophole"], game=game, model=model,
                                 trainer="grpo", seeds=f"{seed}-{seed}")  # fmt: skip
    spec = resolve(experiment, plugins)[0]
    setup = set_up(plugins, spec)
    with listening(progress) as listen:
        policy = open_policy(spec, plugins, opening(listen, model), seed)

        def played(split: Split) -> Mapping[str, Estimate | None]:
            from loopkit.rollouts.playing import evaluate

            def kept(task: Task) -> bool:
                return not (unseen and split == "train" and shown(task))

            found = summary(
                setup,
                evaluate(setup, policy, seed=seed, split=split, prompts=prompts, batch=spec.run.eval_batch,
                         overrides=spec.run.overrides(), keep=kept, progress=counted(listen, split, "evaluate")),
            )  # fmt: skip
            return {**found.scores, **found.rates}

        train, test = played("train"), played("test")
    return [_pair(name, one, other) for name, one in train.items() if one and (other := test.get(name))]


def _pair(measure: str, train: Estimate, test: Estimate) -> Pair:
    difference = minus(train, test)
    if difference.low is None or difference.high is None:
        raise UsageError(f"{measure} has no interval on so few prompts: play more.")
    return Pair(measure, train, test, difference.low, difference.high)
