"""Files that are not what was written: named, and the run goes on from the last that is, or says how to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loopkit.errors import RunError, UsageError
from loopkit.experiment.config import Experiment, RolloutQuery
from loopkit.experiment.recorded import select
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import RunDir, read_spec, read_summary
from loopkit.experiment.shards import read_shard
from loopkit.front.directories import claim, make
from loopkit.registry import plugins as registry
from loopkit.running.runner import check
from loopkit.system.notices import Listener, listening
from tests.faults import small


def flip(path: Path) -> None:
    """One bit in the middle, which no reader of the format would notice."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * 50)


@pytest.mark.parametrize(
    ("file", "damage", "why"),
    [
        ("model.safetensors", flip, "model.safetensors is not what was saved"),
        ("model.safetensors", cut, "model.safetensors is not what was saved"),
        ("optimizer.safetensors", flip, "optimizer.safetensors is not what was saved"),
        ("optimizer.safetensors", Path.unlink, "optimizer.safetensors is missing"),
        ("tokenizer.json", garble, "tokenizer.json is not what was saved"),
        ("config.json", Path.unlink, "config.json is missing"),
        ("sha256.json", Path.unlink, "sha256.json: FileNotFoundError"),
        ("sha256.json", garble, "sha256.json: UnicodeDecodeError"),
        ("", shutil.rmtree, None),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    killed: Path, whole: Path, file: str, damage: Callable[[Path], None], why: str | None
) -> None:
    checkpoint = killed / "loophole-s0/checkpoints/step-000003"
    damage(checkpoint / file)
    notices = small.finish(killed)
    expected = {"checkpoint": str(checkpoint), "why": why, "cure": "the run goes on from the one before"}
    assert notices == ([("damaged checkpoint", expected)] if why else [])
    small.same(killed, whole)


def test_two_damaged_checkpoints(killed: Path, whole: Path) -> None:
    for step in (2, 3):
        flip(killed / f"loophole-s0/checkpoints/step-{step:06d}/model.safetensors")
    named = [Path(str(fields["checkpoint"])).name for _, fields in small.finish(killed)]
    assert named == ["step-000003", "step-000002"]
    small.same(killed, whole)


def test_no_checkpoint_is_left(killed: Path, whole: Path) -> None:
    for path in (killed / "loophole-s0/checkpoints").iterdir():
        flip(path / "optimizer.safetensors")
    assert len(small.finish(killed)) == 3
    small.same(killed, whole)


def test_the_last_checkpoint_is_damaged_before_it_is_evaluated(whole: Path, tmp_path: Path) -> None:
    out = shutil.copytree(whole, tmp_path / "out")
    shutil.rmtree(out / "loophole-s0/eval")
    cut(out / f"loophole-s0/checkpoints/step-{small.STEPS:06d}/model.safetensors")
    assert len(small.finish(out)) == 1
    small.same(out, whole)


def test_a_checkpoint_that_was_being_replaced_when_killed(killed: Path, whole: Path) -> None:
    """Half removed, with the new one not yet in its place."""
    checkpoint = killed / "loophole-s0/checkpoints/step-000003"
    shutil.copytree(checkpoint, checkpoint.with_name(".tmp-step-000003"))
    (checkpoint / "config.json").unlink()
    assert len(small.finish(killed)) == 1
    small.same(killed, whole)


# --- records ----------------------------------------------------------------------------------------------------------


def test_a_truncated_shard_is_named_by_whoever_reads_it(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "out") / "loophole-s0"
    for kind in ("scores", "rollouts"):
        shard = run / kind / "step-000001.parquet"
        cut(shard)
        with pytest.raises(RunError, match=rf"{kind}/step-000001\.parquet cannot be read \(Arrow.*Restore it"):
            read_shard(shard)
        with pytest.raises(RunError, match=rf"damaged: .*{kind}/step-000001\.parquet is not what was written"):
            select(RolloutQuery(run=str(run)), registry.load())


def test_shards_of_steps_that_are_played_again_are_made_anew(killed: Path, whole: Path) -> None:
    flip(killed / "loophole-s0/checkpoints/step-000003/model.safetensors")
    cut(killed / "loophole-s0/rollouts/step-000002.parquet")
    small.finish(killed)
    small.same(killed, whole)


def damage_line(run: Path, k: int) -> None:
    lines = (run / "steps.jsonl").read_text().splitlines(keepends=True)
    lines[k] = lines[k][: len(lines[k]) // 2] + "\n"
    (run / "steps.jsonl").write_text("".join(lines))


def test_a_damaged_line_after_the_checkpoint_is_dropped_aloud(killed: Path, whole: Path) -> None:
    run = killed / "loophole-s0"
    shutil.rmtree(run / "checkpoints/step-000003")
    damage_line(run, 2)
    [(event, fields)] = small.finish(killed)
    assert event == "damaged record dropped"
    assert f"{run}/steps.jsonl, line 3, cannot be read (JSONDecodeError)." == fields["why"]
    small.same(killed, whole)


def test_a_damaged_line_before_the_checkpoint_is_named_and_the_cure_cures(killed: Path, whole: Path) -> None:
    run = killed / "loophole-s0"
    damage_line(run, 1)
    before = small.contents(killed)
    with pytest.raises(RunError, match=r"steps\.jsonl, line 2, cannot be read .*after .*step-000001") as caught:
        small.finish(killed)
    assert small.contents(killed) == before
    with pytest.raises(RunError, match="line 2"):
        RunDir(run).steps()
    assert "run the same command" in str(caught.value)
    for step in (2, 3):  # "Remove every checkpoint after …/step-000001"
        shutil.rmtree(run / f"checkpoints/step-{step:06d}")
    assert [event for event, _ in small.finish(killed)] == ["damaged record dropped"]
    small.same(killed, whole)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"n": 3}', b"\xff\xfe", b'{"scores": {}, "rates": {"x": 1}}'])
def test_a_damaged_evaluation_is_named_and_the_cure_cures(whole: Path, tmp_path: Path, data: bytes) -> None:
    run = shutil.copytree(whole, tmp_path / "out") / "loophole-s0"
    file = next(run.glob("eval/*/*/metrics.json"))
    file.write_bytes(data)
    with pytest.raises(
        RunError, match=r"metrics\.json is not what was written.*remove .* it evaluates again"
    ) as caught:
        RunDir(run).read_eval("self-grading", "test", "step-000004")
    assert f"remove {file.parent} and" in str(caught.value)
    with pytest.raises(RunError, match=r"metrics\.json cannot be read .*Remove .* it evaluates again"):
        read_summary(file)  # of a run without digests
    if data == b"":
        shutil.rmtree(file.parent)
        small.finish(tmp_path / "out")
        small.same(tmp_path / "out", whole)


def test_a_damaged_spec_is_named_and_the_cure_cures(killed: Path, whole: Path) -> None:
    run = killed / "loophole-s0"
    cut(run / "run.toml")
    with pytest.raises(UsageError, match=r"run\.toml cannot be read .*Restore it.* or remove .*loophole-s0 and run"):
        small.finish(killed)
    with pytest.raises(UsageError, match="cannot be read"):
        read_spec(run)
    shutil.rmtree(run)
    small.finish(killed)
    small.same(killed, whole)


def test_a_damaged_experiment_and_a_damaged_check_are_named(tmp_path: Path) -> None:
    out, asked = tmp_path / "out", Experiment(game="self-grading")
    make(out)
    claim(out, asked)
    right = (out / "experiment.toml").read_bytes()
    RunDir(out / "loophole-s0").begin(small.spec(), {})
    (out / "experiment.toml").write_text('game = "self-gr')
    with pytest.raises(UsageError, match=r"experiment\.toml cannot be read: .*Restore it, or remove it"):
        claim(out, asked)
    (out / "experiment.toml").unlink()
    make(out)  # still known as an experiment's
    claim(out, asked)
    assert (out / "experiment.toml").read_bytes() == right
    for data in ("", "[1]", '{"status": "proven"'):
        (out / "check.json").write_text(data)
        with pytest.raises(RunError, match=r"check\.json cannot be read .*Remove it and run the same command"):
            check(small.spec(), set_up(registry.load(), small.spec()), out)


def test_a_notice_without_a_listener_is_a_line_on_standard_error(
    killed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from loopkit.policy.save import latest_checkpoint

    flip(killed / "loophole-s0/checkpoints/step-000003/model.safetensors")
    found = latest_checkpoint(killed / "loophole-s0/checkpoints")
    assert found is not None
    assert found[0] == 2
    out, err = capfd.readouterr()
    assert out == ""
    said = json.loads(err)
    assert (said["event"], said["level"]) == ("damaged checkpoint", "warning")
    with listening(Listener(lambda event, fields: None, lambda what, ids: None)):
        latest_checkpoint(killed / "loophole-s0/checkpoints")
    assert capfd.readouterr() == ("", "")
