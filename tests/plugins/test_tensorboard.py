from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loopkit.errors import LoopkitError
from loopkit.records import Estimate, StepMetrics
from loopkit.registry import plugins


def metrics(step: int, reward: float) -> StepMetrics:
    rate = Estimate(0.5, None, None, 8, 2, "withheld: few")
    return StepMetrics(step, 8, {"paid": reward}, {"task": 0.25, "observed": None}, {"gap": rate}, 1.0, {"loss": 0.1})


def told(run: Path, steps: dict[int, float]) -> None:
    """What a run tells its observers."""
    found = plugins.load()
    found.tell("run_started", directory=str(run), spec={})
    for step, reward in steps.items():
        found.tell("step_closed", directory=str(run), metrics=metrics(step, reward))
        with (run / "steps.jsonl").open("a") as file:
            file.write("{}\n")
    found.tell("run_finished", directory=str(run))


def scalars(log: Path, tag: str) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(log))
    read.Reload()
    return {e.step: e.value for e in read.Scalars(tag)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = tmp_path / "experiment/loophole-s0"
    (made / "eval/a-game/test-step-000002").mkdir(parents=True)
    (made / "eval/a-game/test-step-000002/metrics.json").write_text(
        '{"rewards": {"paid": 3.0}, "scores": {"task": {"value": 0.75}, "observed": null}, "rates": {}}'
    )
    return made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_steps_and_evaluation_are_written_and_a_resumed_run_replaces_steps(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPKIT_TENSORBOARD", str(tmp_path / "tb"))
    told(run, {0: 1.0, 1: 2.0})
    (run / "steps.jsonl").write_text("{}\n")  # killed, and resumed from step 1
    told(run, {1: 5.0})
    log = tmp_path / "tb/experiment/loophole-s0"
    assert scalars(log, "reward/paid") == {0: 1.0, 1: 5.0}
    assert scalars(log, "exploit/gap") == {0: 0.5, 1: 0.5}
    assert scalars(log, "score/task")[0] == 0.25
    assert scalars(log, "heldout/test-step-000002/score/task") == {2: 0.75}


def test_nothing_is_written_unless_asked_for(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOPKIT_TENSORBOARD", raising=False)
    before = sorted(tmp_path.rglob("*"))
    told(run, {0: 1.0})
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [run / "steps.jsonl"]


def test_without_tensorboard_the_run_stops_and_says_so(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPKIT_TENSORBOARD", str(tmp_path / "tb"))
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(LoopkitError, match=r"pip install 'loopkit-rl\[track\]'"):
        told(run, {0: 1.0})
