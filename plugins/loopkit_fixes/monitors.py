"""Monitors that act: a detector other than that of the exploit rate costs pay, drops rollouts, or ends training."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pydantic import Field

from loopkit.contracts import Draw
from loopkit.interventions import Flag, Monitor

FIRST = 2
"""Steps that a rate is compared with, and that are averaged now: one step's rate is a small sample."""


class Penalty(Monitor):
    """A rollout that the monitor flags is paid less."""

    weight: float = Field(2.0, gt=0, description="what a flagged rollout is paid less")

    def pay(self, rewards: Sequence[float], flags: Sequence[Flag], draws: Sequence[Draw]) -> list[float]:
        flagged = self.decisions(flags, draws)
        return [r - self.weight * f for r, f in zip(rewards, flagged, strict=True)]


class Screen(Monitor):
    """A rollout that the monitor flags is dropped: the trainer learns nothing of it."""

    def keep(self, flags: Sequence[Flag], draws: Sequence[Draw]) -> list[bool]:
        return [not f for f in self.decisions(flags, draws)]


class EarlyStop(Monitor):
    """Training ends when the monitor's rate has risen."""

    rise: float = Field(0.1, gt=0, lt=1, description="how far the rate of the last steps may lie above the first ones'")

    def stop(self, rates: Sequence[float | None]) -> bool:
        measured = [rate for rate in rates if rate is not None]
        return len(measured) > FIRST and fmean(measured[-FIRST:]) - fmean(measured[:FIRST]) > self.rise
