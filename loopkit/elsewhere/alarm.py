"""What is told of a running training besides its records: an alarm when the exploit rate rises, and its tracker."""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from loopkit.records import Estimate, StepMetrics
from loopkit.stats.onset import onset


@dataclass
class Alarm:
    """Rings once, when a rate is shown to lie above that of the first step: the onset of ``stats.onset``.

    False alarms without any rise are at most 5 % a run if the first step is the start policy's; it is called
    exploratory, since nobody has calibrated it on runs like these.
    """

    steps: int
    low: float = 0.0
    rates: dict[int, float] = field(default_factory=dict)
    base: Estimate | None = None
    rung: int | None = None

    def hears(self, step: int, rate: Estimate | None) -> bool:
        """Whether it rings now."""
        if rate is None or self.rung is not None:
            return False
        if self.base is None:
            self.base = rate
        self.rates[step] = rate.value
        high = self.base.high
        if high is None or high <= self.low:
            return False
        padded = [self.rates.get(k) for k in range(max(self.steps, step + 1))]
        self.rung = onset(padded, high, low=self.low)
        return self.rung is not None


def told(metrics: StepMetrics, headline: str) -> dict[str, float]:
    """What a tracker is told of a step: the exploit rate, signs, scores, and mean rewards by name."""
    rates = {n: metrics.rates[n] for n in (headline, "signs") if n in metrics.rates}
    out = {f"loopkit/{name}": rate.value for name, rate in rates.items() if rate is not None}
    out |= {f"loopkit/score {name}": value for name, value in metrics.scores.items() if value is not None}
    return out | {f"loopkit/reward {name}": value for name, value in metrics.rewards.items()}


def track(metrics: Mapping[str, float], context: contextvars.Context) -> None:
    """Send numbers to wandb or trackio, where one of them has a run in this process (``context``: the training's)."""
    wandb, trackio = sys.modules.get("wandb"), sys.modules.get("trackio")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.run.log(dict(metrics), commit=False)  # beside what the training logs next
    if trackio is not None:
        with contextlib.suppress(RuntimeError):  # it was imported, and no run was begun
            context.run(trackio.log, dict(metrics))
