"""Scored rollouts -> the numbers of a step or of an evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loopkit.records import Estimate, Scored, StepMetrics
from loopkit.rollouts.scoring import PAID, Setup, all_clues, kept, readable


@dataclass(frozen=True, slots=True)
class Summary:
    """An evaluation in numbers: each score and each detector's rate with its interval, and mean rewards by channel.

    Intervals are conditional on the seed: the cluster (prompt, or pair) is the unit.
    """

    n: int
    scores: Mapping[str, Estimate | None]
    rates: Mapping[str, Estimate | None]
    rewards: Mapping[str, float]


CUT = "thoughts_cut"
"""The score that the core adds where thoughts have a budget of their own: the share of turns in which it ended."""


def mean(values: Sequence[float]) -> float | None:
    """Arithmetic mean, None of nothing."""
    return sum(values) / len(values) if values else None


def rates(setup: Setup, scored: Sequence[Scored]) -> dict[str, Estimate | None]:
    """Every detector's exploit rate."""
    clues = [all_clues(s.rollout, s.assessment) for s in scored]
    clusters = [s.rollout.task.cluster for s in scored]
    return {
        name: detector.rate([s.flags[name] for s in scored], readable(name, detector, clues), clusters)
        for name, detector in setup.detectors.items()
    }


def score_columns(scored: Sequence[Scored]) -> dict[str, list[float | None]]:
    """Score name -> (B,) values; a score a rollout lacks is None."""
    names = sorted({name for s in scored for name in s.assessment.scores})
    columns = {name: [s.assessment.scores.get(name) for s in scored] for name in names}
    cut = [[t.inserted[0] < t.inserted[1] for t, _ in s.rollout.steps if t.inserted is not None] for s in scored]
    return {**columns, CUT: [mean([*map(float, turns)]) for turns in cut]} if any(cut) else columns


def step_metrics(
    setup: Setup,
    step: int,
    scored: Sequence[Scored],
    trainer: Mapping[str, float],
    missing: Sequence[str],
    surplus: Sequence[str],
) -> StepMetrics:
    """One step's line."""
    groups: dict[str, set[float]] = defaultdict(set)
    for s in scored:
        if PAID in s.rewards:  # else it was made elsewhere, and nobody knows what was paid
            groups[s.rollout.slot].add(s.rewards[PAID])
    columns = score_columns(scored)
    drops = any("keep" in one.changes() for one in setup.interventions.values())
    return StepMetrics(
        step=step,
        n=len(scored),
        rewards={c: sum(s.rewards[c] for s in scored) / len(scored) for c in (scored[0].rewards if scored else ())},
        scores={k: mean([v for v in column if v is not None]) for k, column in columns.items()},
        rates=rates(setup, scored),
        mixed_groups=mean([float(len(values) > 1) for values in groups.values()]),
        trainer=dict(trainer),
        missing=tuple(missing),
        surplus=tuple(surplus),
        kept=mean([*map(float, kept(setup, scored))]) if drops else None,
    )


def summary(setup: Setup, scored: Sequence[Scored]) -> Summary:
    """An evaluation's numbers."""
    from loopkit.stats.rates import share

    clusters = [s.rollout.task.cluster for s in scored]
    return Summary(
        n=len(scored),
        scores={name: share(column, clusters) for name, column in score_columns(scored).items()},
        rates=rates(setup, scored),
        rewards={c: sum(s.rewards[c] for s in scored) / len(scored) for c in (scored[0].rewards if scored else ())},
    )
