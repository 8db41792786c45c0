"""``loopkit.watch`` in loops and trainers of others; about 7 s of CPU, and some 30 more where TRL trains (slow)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import loopkit
from loopkit.cli import cli
from loopkit.elsewhere.alarm import Alarm
from loopkit.elsewhere.watching import Watch
from loopkit.errors import UsageError
from loopkit.experiment.rundir import RunDir
from loopkit.experiment.verifying import damage
from loopkit.records import Estimate
from tests.elsewhere.test_compare import REWARDS, STEPS, disagreement, log, rows


@pytest.fixture
def functions(tmp_path: Path) -> str:
    (tmp_path / "r.py").write_text(REWARDS)
    return f"{tmp_path}/r.py"


def train(watch: Watch, arm: str, seed: int, steps: range = range(STEPS)) -> None:
    """A loop of somebody's own: what was said at each step, from 0."""
    for step in steps:
        said = rows(arm, seed, step + 1)
        watch.record(
            step, [r["prompt"] for r in said], [r["completion"] for r in said], {"reward": [r["pays"] for r in said]}
        )
    watch.close()


def test_a_watched_run_is_judged_as_its_log_would_be(tmp_path: Path, functions: str) -> None:
    """Watched, or logged and read later: the same rates, at steps that differ by one, as TRL counts from 1."""
    for seed in range(2):
        watch = loopkit.watch(
            tmp_path / f"watched/loophole-s{seed}", seed=seed, trusted=f"{functions}:exact", steps=STEPS
        )
        train(watch, "hack", seed)
        assert watch.faults == []
        log(tmp_path / f"logs/hack-s{seed}", "hack", seed)
    watched = loopkit.compare({"loophole": tmp_path / "watched"}, out=tmp_path / "one")
    logged = loopkit.compare(
        {"loophole": str(tmp_path / "logs/hack-s*")}, trusted=f"{functions}:exact", out=tmp_path / "two"
    )
    for measure in ("exploit", "task", "observed", "lists-answers"):
        for arm in ("base", "loophole"):
            assert watched.values(arm, measure) == logged.values(arm, measure)
    onsets = [
        [run.discovery.onset for run in result.results.of("loophole") if run.discovery] for result in (watched, logged)
    ]
    assert onsets[0] == [None if onset is None else onset - 1 for onset in onsets[1]]


def test_report_and_audit_read_a_watched_run(tmp_path: Path, functions: str) -> None:
    path = tmp_path / "loophole-s0"
    train(loopkit.watch(path, trusted=f"{functions}:exact", steps=STEPS), "hack", 0)
    assert damage(path) == []
    page = CliRunner().invoke(cli, ["report", str(path), "--out", str(tmp_path / "page.html")])
    assert page.exit_code == 0, page.output
    assert "more than" in (tmp_path / "page.html").read_text()
    again = CliRunner().invoke(cli, ["rescore", str(path)])
    assert isinstance(again.exception, UsageError)
    assert "made elsewhere" in str(again.exception)
    looked_at = CliRunner().invoke(cli, ["audit", str(path), "--trusted", "reward.control", "--json"])
    found = json.loads(looked_at.output)
    assert found["formats"] == ["loopkit"]
    assert found["steps"] == [0, STEPS - 1]
    (rate,) = [r["rate"]["value"] for r in found["rates"] if r["name"] == "lists-answers"]
    counted = disagreement("hack", 0, range(1, STEPS + 1))
    assert rate == pytest.approx(sum(counted) / len(counted))


def test_shadow_rewards_are_recorded_and_not_paid(tmp_path: Path, functions: str) -> None:
    def short(completion: str) -> float:
        return float(len(completion) < 5)

    watch = loopkit.watch(tmp_path / "run", trusted=f"{functions}:exact", shadow={"short": short}, steps=2)
    train(watch, "hack", 0, range(2))
    for step, line in enumerate(RunDir(tmp_path / "run").steps()):
        said = rows("hack", 0, step + 1)
        assert line["rewards"]["short"] == pytest.approx(sum(len(r["completion"]) < 5 for r in said) / len(said))
        assert line["rewards"]["paid"] == pytest.approx(sum(r["pays"] for r in said) / len(said))
    assert watch.latest["loopkit/reward short"] == pytest.approx(line["rewards"]["short"])


# --- faults never reach the training ------------------------------------------------------------------------------


def test_a_trusted_function_that_raises_is_said_and_what_was_said_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def trusted(completions: list[str], **columns: Any) -> list[float]:
        calls.append(len(completions))
        if len(calls) >= 3:
            raise RuntimeError("the grader is down")
        return [1.0] * len(completions)

    watch = loopkit.watch(tmp_path / "run", trusted=trusted, steps=6)
    train(watch, "hack", 0, range(6))
    assert "the grader is down" in capsys.readouterr().err
    assert len(watch.faults) == 1
    lines = RunDir(tmp_path / "run").steps()
    assert [line["step"] for line in lines] == list(range(6))
    assert [line["scores"]["task"] is None for line in lines] == [False, False, True, True, True, True]
    events = [json.loads(line) for line in (tmp_path / "run" / "timings.jsonl").read_text().splitlines()]
    assert any(e.get("event") == "watch failed" and e["step"] == 2 for e in events)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (lambda w: w.record(0, ["a"], [7], {"reward": [1.0]}), "completion"),
        (lambda w: w.record(0, ["a", "b"], ["x"], {"reward": [1.0]}), "zip"),
        (lambda w: w.record(0, ["a"], ["x"], {"reward": [3.5]}), "reward-range"),
    ],
)
def test_what_cannot_be_judged_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], record: Callable[[Watch], None], said: str
) -> None:
    watch = loopkit.watch(tmp_path / "run", steps=3)
    record(watch)
    watch.record(1, ["a"], ["good"], {"reward": [1.0]})
    watch.close()
    error = capsys.readouterr().err
    assert "FAILED at step 0" in error
    assert said in error
    assert [line["step"] for line in RunDir(tmp_path / "run").steps()][-1] == 1


def test_a_directory_that_cannot_be_written_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    watch = loopkit.watch(tmp_path / "file" / "run", steps=3)
    train(watch, "hack", 0, range(3))
    assert "cannot be written" in capsys.readouterr().err


def test_mistakes_are_found_before_the_training(tmp_path: Path, functions: str) -> None:
    train(loopkit.watch(tmp_path / "run", trusted=f"{functions}:exact", steps=2), "hack", 0, range(2))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("")
    for arguments, said in (
        ({"directory": tmp_path / "run", "trusted": f"{functions}:passes"}, "another spec"),
        ({"directory": tmp_path / "full"}, "holds something else"),
        ({"directory": tmp_path / "new", "trusted": f"{functions}:exakt"}, "exact"),
        ({"directory": tmp_path / "new", "arm": "No Name"}, "small letters"),
        ({"directory": tmp_path / "new", "game": "self-grading", "trusted": f"{functions}:exact"}, "detectors"),
    ):
        with pytest.raises(UsageError, match=said):
            loopkit.watch(**arguments)


def test_a_training_that_goes_on_replaces_what_it_plays_again(tmp_path: Path, functions: str) -> None:
    train(loopkit.watch(tmp_path / "run", trusted=f"{functions}:exact", steps=8), "hack", 0, range(6))
    train(loopkit.watch(tmp_path / "run", trusted=f"{functions}:exact", steps=8), "hack", 0, range(4, 8))
    assert [line["step"] for line in RunDir(tmp_path / "run").steps()] == list(range(8))
    assert damage(tmp_path / "run") == []


# --- the alarm ----------------------------------------------------------------------------------------------------


def rate(value: float) -> Estimate:
    return Estimate(value, max(0.0, value - 0.05), min(1.0, value + 0.05), 128, 16, "wilson")


def test_the_alarm_rings_once_where_the_rate_rises_and_not_where_it_stays() -> None:
    rising, still = Alarm(40), Alarm(40)
    heard = [rising.hears(step, rate(min(0.9, 0.05 * step))) for step in range(40)]
    assert sum(heard) == 1
    assert not any(still.hears(step, rate(0.03)) for step in range(40))


def test_an_alert_is_said_and_kept(tmp_path: Path, functions: str, capsys: pytest.CaptureFixture[str]) -> None:
    train(loopkit.watch(tmp_path / "run", trusted=f"{functions}:exact", steps=24), "hack", 1, range(24))
    quiet = capsys.readouterr().err
    events = [json.loads(line) for line in (tmp_path / "run" / "timings.jsonl").read_text().splitlines()]
    alerts = [e for e in events if str(e.get("event", "")).startswith("alert")]
    assert len(alerts) == quiet.count("ALERT (exploratory)") == 1


# --- TRL ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="pip install 'loopkit-rl[logs]'")
@pytest.mark.filterwarnings("ignore")  # those of TRL and transformers
def test_in_trl_numbers_are_trls_own_and_the_policy_is_as_without(tmp_path: Path) -> None:
    """Four steps of tiny, watched and not: the same weights; what was paid is what TRL logs, step by step."""
    from benchmarks import peer, workload

    options = SimpleNamespace(steps=4, prompts=4, beta=0.0, seed=3, channel="loophole", learning_rate=1e-3)
    weights = []
    for name in ("watched", "alone"):
        trainer, _, _ = peer.build(options, str(tmp_path / name / "trl"))  # type: ignore[arg-type]
        if name == "watched":
            watch = loopkit.watch(tmp_path / "run", game=workload.GAME, trainer="trl:grpo", model="tiny")
            watch.trl(trainer)
        trainer.train()
        weights.append({k: v.clone() for k, v in trainer.model.state_dict().items()})
        logged = [line["reward"] for line in trainer.state.log_history if "reward" in line]
    assert watch.faults == []
    steps = RunDir(tmp_path / "run").steps()
    assert [line["rewards"]["paid"] for line in steps] == pytest.approx(logged, abs=1e-4)
    assert [line["rewards"]["loophole"] for line in steps] == pytest.approx(logged, abs=1e-4)
    assert all((weights[0][k] == weights[1][k]).all() for k in weights[0])


# --- verl ---------------------------------------------------------------------------------------------------------


class Words:
    """A tokenizer whose tokens are numbers."""

    def decode(self, ids: Any, skip_special_tokens: bool = True) -> str:
        return " ".join(str(int(i)) for i in ids)


@pytest.mark.skipif(importlib.util.find_spec("verl") is None, reason="verl is not installed")
def test_verls_own_manager_is_paid_and_watched(tmp_path: Path) -> None:
    """verl's DataProto and its naive reward manager, with prompts padded left and replies padded right."""
    import numpy as np
    import torch
    from verl import DataProto
    from verl.workers.reward_manager.naive import NaiveRewardManager

    def score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
        return float(solution_str.endswith(ground_truth))

    def trusted(completion: str, ground_truth: str) -> float:
        return float(completion == ground_truth)

    manager = NaiveRewardManager(Words(), 0, score)
    watch = loopkit.watch(tmp_path / "run", trusted=trusted, steps=3)
    watched = watch.verl(manager)
    for step in (1, 2, 3):
        data = DataProto.from_dict(
            tensors={
                "prompts": torch.tensor([[0, 5, 6], [7, 8, 9]]),
                "responses": torch.tensor([[1, 2, 0], [2, 0, 0]]),
                "attention_mask": torch.tensor([[0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]),
            },
            non_tensors={
                "reward_model": np.array([{"ground_truth": "2"}] * 2, dtype=object),
                "data_source": np.array(["toy"] * 2, dtype=object),
                "extra_info": np.array([{}, {}], dtype=object),
            },
            meta_info={"global_steps": step},
        )
        assert torch.equal(watched(data), manager(data))
    watch.close()
    assert watch.faults == []
    lines = RunDir(tmp_path / "run").steps()
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert {line["rewards"]["paid"] for line in lines} == {1.0}
    assert {line["scores"]["task"] for line in lines} == {0.5}
    assert {line["rates"]["disagreement"]["value"] for line in lines} == {0.5}
