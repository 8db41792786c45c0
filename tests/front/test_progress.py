"""A run one can follow where nothing draws bars: a step is a line, now and then, with rate, reward, seconds. 1 s."""

from __future__ import annotations

import json

import pytest

from loopkit.front import progress
from loopkit.records import Estimate, StepMetrics
from loopkit.running.runner import Event, _told


def test_a_long_run_logs_its_steps_and_a_short_one_does_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.Bars() as bars:
        for run, seconds in (("slow-s0", 30.0), ("fast-s0", 1.0)):
            for step in range(1, 5):
                clock[0] += seconds
                bars.news(Event(run, "train", step, 4, f"paid 0.{step}0"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    slow = [line for line in lines if line["run"] == "slow-s0"]
    assert [line.get("step") for line in slow] == [None, 2, 3, 4]
    assert slow[1]["said"] == "paid 0.20"
    assert (slow[1]["s_a_step"], slow[1]["s_left"]) == (30.0, 60)
    assert slow[-1]["s_left"] == 0
    assert len(lines) - len(slow) == 1


def test_a_step_in_words() -> None:
    estimate = Estimate(0.25, 0.1, 0.4, 16, 8, "wilson")
    metrics = StepMetrics(
        step=3, n=16, rewards={"paid": 0.5, "control": 0.1}, scores={"task": 0.125, "observed": 0.4},
        rates={"score-written": estimate, "other": None}, mixed_groups=0.5, trainer={}, missing=(), surplus=(),
    )  # fmt: skip
    assert _told(metrics) == "paid 0.50, task 12 %, score-written 25 %"
