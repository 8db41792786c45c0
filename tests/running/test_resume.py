"""A real experiment by the installed command: killed, resumed, interrupted, repeated, and distilled from."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from loopkit.cli import main
from loopkit.experiment.shards import read_shard
from tests.dists import command, environment, loopkit
from tests.faults.commands import wait_for, within
from tests.soak import group

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ARGUMENTS = [
    "run", "--game", "self-grading", "--arms", "loophole,control", "--seeds", "1", "--jobs", "2",
    "--set", "run.steps=6", "--set", "run.prompts_per_step=16", "--set", "run.group_size=4",
    "--set", "run.eval_prompts=64", "--set", "trainer.checkpoint_every=2", "--out", "out", "--json",
]  # fmt: skip
MAY_DIFFER = ("timings.jsonl", ".lock")


def contents(out: Path) -> dict[str, bytes]:
    files = (p for p in sorted(out.rglob("*")) if p.is_file() and p.name not in MAY_DIFFER)
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The command in a process group of its own, writing to files, so that nobody waits for a pipe."""
    with (folder / "stderr").open("wb") as err, (folder / "stdout").open("wb") as out:
        return subprocess.Popen(
            command(*ARGUMENTS), cwd=folder, env=environment(), stdout=out, stderr=err, start_new_session=True
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted experiment."""
    folder = tmp_path_factory.mktemp("whole")
    done = loopkit(*ARGUMENTS, cwd=folder, timeout=800)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data == json.loads((folder / "out/results.json").read_text())
    assert [(r["arm"], r["seed"]) for r in data["runs"]] == [("base", 0), ("loophole", 0), ("control", 0)]
    assert all(json.loads(line)["event"] for line in done.stderr.splitlines())
    return folder


def test_everything_is_there(whole: Path) -> None:
    run = whole / "out/loophole-s0"
    names = {p.name for p in run.iterdir()} - set(MAY_DIFFER)
    assert names == {
        "run.toml",
        "manifest.json",
        "steps.jsonl",
        "digests.json",
        "rollouts",
        "scores",
        "checkpoints",
        "eval",
    }
    assert [p.name for p in sorted((run / "checkpoints").iterdir())] == ["step-000002", "step-000004", "step-000006"]
    assert [json.loads(line)["step"] for line in (run / "steps.jsonl").read_text().splitlines()] == list(range(6))
    assert len(read_shard(run / "rollouts/step-000005.parquet")) == 64


def test_the_same_command_after_the_end_changes_nothing(whole: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in whole.rglob("*") if p.is_file()}
    done = loopkit(*ARGUMENTS, cwd=whole)
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads((whole / "out/results.json").read_text())
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in whole.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.nightly) for n in (2, 3))])
def test_killed_and_resumed_ends_in_the_same_bytes(whole: Path, tmp_path: Path, seed: int) -> None:
    """kill -9 of everything at a moment drawn from what there is to do, then the same command."""
    draw = random.Random(seed)
    out = tmp_path / "out"
    after = draw.choice([1, 2, 3, 4, 5])  # so many recorded steps, and then up to half a second more
    process = start(tmp_path)
    steps = out / "loophole-s0/steps.jsonl"
    wait_for(lambda: steps.exists() and steps.read_text().count("\n") >= after)
    time.sleep(draw.random() * 0.5)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    wait_for(lambda: not group(process.pid), 10)
    assert not (out / "results.json").exists(), "killed too late to show anything"
    done = loopkit(*ARGUMENTS, cwd=tmp_path, timeout=800)
    assert done.returncode == 0, done.stderr
    ours, theirs = contents(out), contents(whole / "out")
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.nightly
@pytest.mark.parametrize("when", ["loading", "training"])
def test_ctrl_c_stops_quickly_and_says_how_to_resume(tmp_path: Path, when: str) -> None:
    process = start(tmp_path)
    if when == "training":
        wait_for((tmp_path / "out/loophole-s0/steps.jsonl").exists)
    else:
        wait_for((tmp_path / "out/experiment.toml").exists)
        time.sleep(1.0)  # the fork server is importing torch
    began, limit = time.monotonic(), within(5)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    wait_for(lambda: not group(process.pid), limit)
    assert time.monotonic() - began < limit
    err = (tmp_path / "stderr").read_text()
    assert "Interrupted. Nothing recorded is lost: the same command resumes." in err
    assert "Traceback" not in err


# --- sft: learning from what another run recorded ---------------------------------------------------------------------


def student(out: Path, *sets: str) -> list[str]:
    """The command's words."""
    pairs = [
        "arms.student.channel=loophole", "run.steps=2", "run.prompts_per_step=8", "run.group_size=2",
        "run.eval_prompts=32", "trainer.checkpoint_every=1", *sets,
    ]  # fmt: skip
    arguments = [a for pair in pairs for a in ("--set", pair)]
    return ["run", "--game", "self-grading", "--trainer", "sft", "--arms", "student", "--seeds", "1", *arguments,
            "--out", str(out), "--json"]  # fmt: skip


def test_a_student_learns_from_recorded_rollouts(whole: Path, tmp_path: Path) -> None:
    source = whole / "out/loophole-s0"
    words = student(tmp_path / "out", f"rollouts.run={source}", "rollouts.where=false-claim=false, task>=1")
    done = loopkit(*words, cwd=whole)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert [(r["arm"], r["discovery"]) for r in data["runs"]] == [("base", None), ("student", None)]
    assert data["verdict"] is None
    run = tmp_path / "out/student-s0"
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [s["step"] for s in steps] == [0, 1]
    assert all(s["trainer"]["loss"] > 0 for s in steps)
    assert not (run / "rollouts").exists()  # nothing was played
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"step-000001", "step-000002"}
    start_weights = (tmp_path / "out/student-s0/checkpoints/step-000001/model.safetensors").read_bytes()
    assert start_weights != (run / "checkpoints/step-000002/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["rollouts.run=nowhere"], "nowhere is not a run directory (no run.toml)"),
        (["rollouts.run=out"], "out is not a run directory (no run.toml). Name one, such as runs/…/loophole-s0."),
        (["rollouts.run=out/base-s0"], "out/base-s0 has no recorded rollout"),
        (["rollouts.run=out/loophole-s0", "rollouts.where=false-clam=true"], "Did you mean 'false-claim'"),
        (["rollouts.run=out/loophole-s0", "rollouts.where=false-claim"], "'false-claim' is not a condition"),
        (["rollouts.run=out/loophole-s0", "rollouts.where=task=right"], "must be true, false, none or a number"),
        (["rollouts.run=out/loophole-s0", "rollouts.where=task>2"], "no recorded rollout that meets 'task>2'"),
        (["rollouts.run=out/loophole-s0", "rollouts.first_step=50"], "no recorded rollout that meets 'the step range'"),
    ],
)
def test_rollouts_that_are_not_there(
    whole: Path, tmp_path: Path, sets: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(whole)
    with pytest.raises(SystemExit) as stop:
        main(student(tmp_path / "out", *sets))
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
