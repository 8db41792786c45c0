"""Records: whole writes, one writer, refusals that show the difference, shards that survive, scores rebuilt."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopkit.errors import RefereeError, RunError, UsageError
from loopkit.experiment import rundir
from loopkit.experiment.config import RolloutQuery, RunSettings, RunSpec
from loopkit.experiment.rundir import RunDir, read_spec
from loopkit.experiment.shards import read_rollouts, read_shard, score_row, shards, write_shard
from loopkit.records import Assessment, Dialogue, Done, Estimate, Message, Rollout, Scored, StepMetrics, Task, Turn
from loopkit.rollouts.metrics import Summary, summary
from loopkit.rollouts.playing import play
from loopkit.rollouts.referee import LocalReferee
from loopkit.rollouts.scoring import score
from loopkit.system.files import write_whole
from tests.toys import DOUBLING, setup

SPEC = RunSpec(
    game="self-grading", game_version=1, game_options={"wrong_share": 0.5}, arm="loophole", channel="loophole",
    channel_options={"rate": 0.1}, shadow=["audit"], detectors=[], trainer="grpo",
    trainer_options={"scale": "none"}, model="tiny", seed=0, run=RunSettings(steps=2),
)  # fmt: skip


class Says:
    """A policy with odd things to say."""

    WORDS = ("12", "", "\u2028\x85", "\u202e\x00\x1b[0m", "𝔘🏳️‍🌈", "a\r\nb", "Yes")

    def speak(self, dialogues: Any) -> list[Turn]:
        return [
            Turn("Yes" if d.turn else self.WORDS[k % 7], "length" if k % 2 else "stop") for k, d in enumerate(dialogues)
        ]


def played(recorder: Any, steps: int = 2, seed: int = 0) -> LocalReferee:
    """A run of the doubling game: 4 prompts, 3 rollouts each."""
    referee = LocalReferee(
        setup(DOUBLING), seed=seed, split="train", n_steps=steps, prompts_per_step=4, group_size=3, recorder=recorder
    )
    for step in range(steps):
        play(referee, Says(), step)
        referee.close(step, {"loss": 0.1 * step}, {"play_s": 1.0})
    return referee


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


# --- whole writes ---------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deep" / "file"
    write_whole(file, b"old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:1])
        raise OSError("no space")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"deep/file cannot be written: no space\. Make room there"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert [p.name for p in file.parent.iterdir()] == ["file"]  # nor is room taken by half of the new one


def test_half_written_files_are_removed_on_resume(tmp_path: Path) -> None:
    RunDir(tmp_path).begin(SPEC, {})
    half = tmp_path / "rollouts" / ".tmp-step-000000.parquet"
    half.parent.mkdir()
    half.write_bytes(b"x")
    checkpoint = tmp_path / "checkpoints" / ".tmp-step-000002"
    checkpoint.mkdir(parents=True)  # the trainer's business
    RunDir(tmp_path).begin(SPEC, {})
    assert not half.exists()
    assert checkpoint.exists()


# --- identity -------------------------------------------------------------------------------------------------------


def test_begin_writes_spec_and_manifest_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.begin(SPEC, {"git": "a"})
    assert run.spec() == SPEC
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest == {"git": "a", "spec_hash": SPEC.hash(), "digests": 1}
    before = contents(tmp_path)
    run.begin(SPEC, {"git": "b"})
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"seed": 4}, "(seed: 0 there, 4 now)"),
        ({"run": RunSettings(steps=9, group_size=2)}, "(run.group_size: 8 there, 2 now; run.steps: 2 there, 9 now)"),
        ({"channel_options": {"rate": 0.2}}, "(channel_options.rate: 0.1 there, 0.2 now)"),
        ({"rollouts": RolloutQuery(run="r")}, "rollouts.run: None there, 'r' now"),
        ({"shadow": ["audit", "control"]}, "(shadow: ['audit'] there, ['audit', 'control'] now)"),
        ({"trainer_options": {}}, "trainer_options.scale: 'none' there, None now"),
    ],
)
def test_another_spec_is_refused_with_the_difference(tmp_path: Path, change: dict[str, Any], shown: str) -> None:
    RunDir(tmp_path).begin(SPEC, {})
    before = contents(tmp_path)
    with pytest.raises(UsageError) as caught:
        RunDir(tmp_path).begin(SPEC.model_copy(update=change), {})
    assert shown in str(caught.value)
    assert "another --out" in str(caught.value)
    assert contents(tmp_path) == before


def test_an_empty_table_is_a_difference(tmp_path: Path) -> None:
    old = {"arms": {"loophole": {}}}
    rundir.check_same(tmp_path, old, old)
    with pytest.raises(UsageError, match=r"arms\.control: None there, \{\} now"):
        rundir.check_same(tmp_path, old, {"arms": {"loophole": {}, "control": {}}})


def test_read_spec_refuses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run directory"):
        read_spec(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a run directory"):
        read_spec(tmp_path / "file")
    (tmp_path / "run.toml").write_text("game = 3")
    with pytest.raises(UsageError, match="cannot be read by this version"):
        read_spec(tmp_path)
    (tmp_path / "run.toml").write_text("game = ")
    with pytest.raises(UsageError, match="cannot be read by this version"):
        read_spec(tmp_path)
    (tmp_path / "run.toml").unlink()
    RunDir(tmp_path).begin(SPEC.model_copy(update={"schema_version": 99}), {})
    with pytest.raises(UsageError, match="has schema 99; this version of loopkit reads 1"):
        read_spec(tmp_path)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom loopkit.errors import RunError\n"
        "from loopkit.experiment.rundir import RunDir\n"
        f"try:\n    with RunDir(Path({str(tmp_path)!r})).lock():\n        print('held')\n"
        "except RunError as e:\n    print(e)"
    )

    def other() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with RunDir(tmp_path).lock():
        assert "is in use by another process. Wait for it, or choose another --out." in other()
    assert other() == "held\n"


# --- steps ----------------------------------------------------------------------------------------------------------


def test_steps_are_recorded_and_dropped(tmp_path: Path) -> None:
    seen: list[int] = []
    run = RunDir(tmp_path, lambda m: seen.append(m.step))
    played(run, 3)
    assert seen == [0, 1, 2]
    assert [s["step"] for s in run.steps()] == [0, 1, 2]
    assert run.steps()[2]["trainer"] == {"loss": 0.2}
    assert [s for s, _ in shards(tmp_path / "rollouts")] == [s for s, _ in shards(tmp_path / "scores")] == [0, 1, 2]
    first = contents(tmp_path)
    run.drop(1)
    assert [s["step"] for s in RunDir(tmp_path).steps()] == [0]
    assert [s for s, _ in shards(tmp_path / "rollouts")] == [s for s, _ in shards(tmp_path / "scores")] == [0]
    again = RunDir(tmp_path)
    with pytest.raises(RefereeError, match="step 0 is closed"):  # without resume, what is recorded stays
        played(again, 3)
    assert [s["step"] for s in again.steps()] == [0]
    again.drop(0)
    played(again, 3)
    assert {k: v for k, v in contents(tmp_path).items() if k != "timings.jsonl"} == {
        k: v for k, v in first.items() if k != "timings.jsonl"
    }
    assert len((tmp_path / "timings.jsonl").read_text().splitlines()) == 6


def test_a_line_in_steps_means_that_its_shards_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, rows: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(rundir, "write_shard", fails)
    with pytest.raises(OSError, match="no space"):
        played(RunDir(tmp_path), 1)
    assert RunDir(tmp_path).steps() == []


def test_a_step_recorded_again_after_a_failure_is_not_doubled(tmp_path: Path) -> None:
    """The observer fails after the step is on disk; the referee, whose close failed, is asked to close again."""
    failing = [True]

    def observe(metrics: StepMetrics) -> None:
        if failing.pop():
            raise ConnectionError("the tracker is away")

    run = RunDir(tmp_path, observe)
    referee = LocalReferee(
        setup(DOUBLING), seed=0, split="train", n_steps=1, prompts_per_step=4, group_size=3, recorder=run
    )
    play(referee, Says(), 0)
    with pytest.raises(ConnectionError):
        referee.close(0, {})
    before = contents(tmp_path)
    failing.append(False)
    referee.close(0, {})
    assert [s["step"] for s in run.steps()] == [0]
    assert contents(tmp_path)["steps.jsonl"] == before["steps.jsonl"]


def test_metrics_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        RunDir(tmp_path).record(StepMetrics(0, 0, {}, {}, {}, None, {"loss": float("nan")}), [], {})
    assert RunDir(tmp_path).steps() == []


def test_records_are_sorted_whatever_the_order_of_arrival(tmp_path: Path) -> None:
    """Names and order of arrival leave no trace but the names themselves."""

    def run(path: Path, backwards: bool) -> list[tuple[Any, ...]]:
        referee = LocalReferee(
            setup(DOUBLING), seed=0, split="train", n_steps=1, prompts_per_step=4, group_size=2, recorder=RunDir(path)
        )
        ids = [f"{slot.key}/{name}" for slot in referee.slots(0) for name in ("a", "b")]
        for id_ in reversed(ids) if backwards else ids:
            words = ("7", "Yes") if id_.endswith("a") != backwards else ("8", "No")
            for n, text in enumerate(words):
                referee.reply([id_], [n], [Turn(text)])
            referee.settle([id_])
        referee.close(0, {})
        rows = read_shard(path / "rollouts/step-000000.parquet")
        keys = [(r["slot"], tuple(r["said"]), r["occurrence"]) for r in rows]
        assert keys == sorted(keys)
        return [(*k, *s.values()) for k, s in zip(keys, read_shard(path / "scores/step-000000.parquet"), strict=True)]

    assert run(tmp_path / "1", False) == run(tmp_path / "2", True)


# --- shards ---------------------------------------------------------------------------------------------------------


def test_rollouts_survive_their_shard(tmp_path: Path) -> None:
    kept: list[Scored] = []

    class Both(RunDir):
        def record(self, metrics: StepMetrics, scored: Any, timings: Mapping[str, float]) -> None:
            kept.extend(scored)
            super().record(metrics, scored, timings)

    played(Both(tmp_path), 1)
    read = read_rollouts(tmp_path / "rollouts/step-000000.parquet", DOUBLING)
    assert [(r, k) for r, k in read] == [(s.rollout, s.occurrence) for s in kept]
    assert {t.finish for r, _ in read for t, _ in r.steps} == {"stop", "length"}
    assert set(Says.WORDS) - {"Yes"} <= {r.words[0] for r, _ in read} | {"Yes"}
    rows = read_shard(tmp_path / "scores/step-000000.parquet")
    again = score(setup(DOUBLING), [r for r, _ in read], [k for _, k in read])
    assert [score_row(s) for s in again] == rows


odd = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(odd, odd, st.none() | st.booleans(), st.none() | st.floats(0, 1), st.integers(0, 9))))
def test_any_text_survives_a_shard(tmp_path_factory: pytest.TempPathFactory, given: list[Any]) -> None:
    path = tmp_path_factory.mktemp("shard") / "s.parquet"
    rows = [
        {"slot": a, "said": [a, b], "flag.f": f, "score.s": s, "clue.c": json.dumps(b), "tokens": [n, None], "seed": n}
        for a, b, f, s, n in given
    ]
    write_shard(path, rows)
    assert read_shard(path) == rows


@pytest.mark.parametrize("column", ["flag.x", "score.x", "signal.x", "reward.x", "clue.x", "said", "tokens", "seed"])
def test_a_column_of_none_keeps_its_type(tmp_path: Path, column: str) -> None:
    import pyarrow.parquet as pq

    values = {"flag": True, "score": 0.5, "signal": 0.5, "reward": 0.5, "clue": "1", "said": ["a"], "tokens": [1]}
    write_shard(tmp_path / "none", [{column: None}, {column: None}])
    write_shard(tmp_path / "some", [{column: values.get(column.split(".")[0], 3)}])
    types = [pq.read_schema(tmp_path / name).field(column).type for name in ("none", "some")]
    assert types[0] == types[1]
    assert read_shard(tmp_path / "none") == [{column: None}] * 2


def test_a_corrupt_shard_is_named(tmp_path: Path) -> None:
    played(RunDir(tmp_path), 1)
    shard = tmp_path / "rollouts/step-000000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"rollouts/step-000000\.parquet cannot be read \(Arrow"):
        read_rollouts(shard, DOUBLING)
    with pytest.raises(RunError, match=r"none\.parquet cannot be read \(FileNotFound"):
        read_shard(tmp_path / "none.parquet")


def test_a_task_the_game_lost_is_named(tmp_path: Path) -> None:
    class Other(type(DOUBLING)):  # type: ignore[misc]
        size = 2

    played(RunDir(tmp_path), 1)
    with pytest.raises(UsageError, match=r"the game has no task 't\d+' any more"):
        read_rollouts(tmp_path / "rollouts/step-000000.parquet", Other(DOUBLING.options))


def test_shards_are_in_the_order_of_steps(tmp_path: Path) -> None:
    for name in ("step-000010", "step-000009", "step-1000000", "other", ".tmp-step-000001"):
        (tmp_path / f"{name}.parquet").touch()
    assert [step for step, _ in shards(tmp_path)] == [9, 10, 1000000]


# --- evaluations ----------------------------------------------------------------------------------------------------


def test_an_evaluation_is_read_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.read_eval("g", "test", "start") is None
    task = Task("t", (Message("user", "Double 3."),), public={"i": 3}, secret={"answer": "secret:6"})
    rollout = Rollout("test/000000/0000/t/0", task, ((Turn("6"), Message("user", "Sure?")), (Turn("Yes"), Done())))
    scored = score(setup(DOUBLING), [rollout], [0])
    numbers = summary(setup(DOUBLING), scored)
    run.write_eval("g", "test", "start", scored, numbers)
    assert run.read_eval("g", "test", "start") == numbers
    assert isinstance(numbers.scores["task"], Estimate)
    empty = Summary(0, {"task": None}, {"x": None}, {})
    run.write_eval("g", "dev", "start", [], empty)
    assert run.read_eval("g", "dev", "start") == empty


def test_an_evaluation_counts_only_once_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path)
    monkeypatch.setattr(rundir, "to_json", lambda data: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.write_eval("g", "test", "start", [], Summary(0, {}, {}, {}))
    assert run.read_eval("g", "test", "start") is None


def test_scores_of_none_and_odd_clues_have_a_row() -> None:
    rollout = Rollout("train/0/0/t/0", Task("t", ()), ((Turn("x"), Done()),))
    assessment = Assessment({"task": 1, "observed": None}, {"s": 1}, {"c": {"b": 1, "a": None}})
    row = score_row(Scored(rollout, 2, assessment, {"paid": 0.5}, {"f": None}))
    assert row == {
        "slot": "train/0/0/t", "occurrence": 2, "score.observed": None, "score.task": 1.0, "signal.s": 1.0,
        "clue.c": '{"a": null, "b": 1}', "reward.paid": 0.5, "flag.f": None,
    }  # fmt: skip
    assert replace(rollout, id="train/0/0/t/b").slot == "train/0/0/t"
    assert Dialogue("k", tuple(rollout.messages())).turn == 1
