"""Runs that could not learn: no step of theirs had a gradient. What they did not learn says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loopkit.records import Json

WHY = "could not learn: no step had a gradient (the rewards that were compared were all equal)"


def idle(steps: Sequence[Mapping[str, Json]]) -> bool:
    """Whether a run's recorded steps (of steps.jsonl) show that nothing was ever learned.

    By the trainer's own ``grad_norm`` where it has one; else where every reward of the run was the same.
    """
    if not steps:
        return False
    norms = [step["trainer"].get("grad_norm") for step in steps]
    if None not in norms:
        return all(norm == 0 for norm in norms)
    paid = {step["rewards"].get("paid") for step in steps}
    return len(paid) == 1 and None not in paid and all(step["mixed_groups"] == 0 for step in steps)
