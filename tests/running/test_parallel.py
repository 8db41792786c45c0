"""Jobs side by side: what needs a failed run is not started and says so, while the others go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loopkit.contracts import PolicyRef
from loopkit.errors import RunError, UsageError
from loopkit.experiment.manifest import read_manifest
from loopkit.experiment.resolve import start_policy
from loopkit.registry import plugins as registry
from loopkit.running import parallel
from loopkit.running.parallel import Job, refuse, run_all, run_jobs
from loopkit.running.runner import ERROR, Event
from loopkit.studies.grid import Grid, merged, start_key, with_start

GAME = "self-grading"
SMALL: dict[str, dict[str, Any]] = {
    "run": {"steps": 1, "prompts_per_step": 4, "group_size": 2, "eval_prompts": 8},
}


def grid(out: Path) -> Grid:
    return Grid(registry.load(), out, (GAME,), (0,), settings=SMALL)


def started(made: Grid, jobs: list[Job]) -> list[Job]:
    starts = {k: start_policy(j.spec, made.plugins, lambda d, t: None) for j in jobs if (k := start_key(j.spec))}
    return [with_start(job, starts) for job in jobs]


def test_a_failed_run_is_named_what_needs_it_is_not_started_and_the_others_go_on(tmp_path: Path) -> None:
    made = grid(tmp_path)
    nowhere = {"run": str(tmp_path / "nowhere"), "where": ""}
    broken = made.run(GAME, "student", 0, channel={"channel": "loophole"}, trainer="sft", rollouts=nowhere)
    needs = made.run(GAME, "second", 0, channel={"channel": "loophole"}, start=broken)
    third = made.run(GAME, "third", 0, channel={"channel": "loophole"}, start=needs)
    fine = made.run(GAME, "loophole", 0)
    after = made.run(GAME, "control-after", 0, channel={"channel": "control"}, start=fine)
    events: list[Event] = []
    failed = run_jobs(started(made, [third, needs, broken, after, fine]), 2, events.append)
    assert {job.name for job in failed} == {broken.name, needs.name, third.name}
    said = {e.run: e.text for e in events if e.phase == "failed"}
    assert "nowhere" in said[broken.name]
    assert said[needs.name] == f"not started: it needs {broken.name}, which failed"
    assert said[third.name] == f"not started: it needs {needs.name}, which failed"
    assert fine.finished()
    assert after.finished()
    assert [e.run for e in events if e.phase == "done"] == [fine.name, after.name]

    with pytest.raises(RunError, match=r"3 of the runs failed.*nowhere|3 of the runs failed.*error\.txt"):
        refuse({job.name: job.directory / ERROR for job in failed})

    manifest = read_manifest(after.directory)
    assert manifest["started_from"] == {"path": str(fine.directory), "spec_hash": fine.spec.hash()}
    assert manifest["device"].startswith(("cpu: ", "cuda: "))
    assert manifest["start_policy_sha256"] != read_manifest(fine.directory)["start_policy_sha256"]

    # a further evaluation of what is finished trains nothing again
    steps = (fine.directory / "steps.jsonl").stat().st_mtime_ns
    further = made.evaluation("context-compliance", 0, "step-000001", prompts=4)
    played = started(made, merged([fine, Job(fine.spec, fine.out, further=(further,))]))
    assert not played[0].finished()
    assert run_jobs(played, 1, events.append) == []
    found = made.made(fine, further)
    assert found.n == 4
    assert (fine.directory / "steps.jsonl").stat().st_mtime_ns == steps


def test_a_run_does_not_go_on_from_other_weights(tmp_path: Path) -> None:
    from loopkit.experiment.manifest import check_start
    from loopkit.experiment.rundir import RunDir

    made = grid(tmp_path)
    job = made.run(GAME, "loophole", 0)
    RunDir(job.directory).begin(job.spec, {"start_policy_sha256": "a" * 64})
    check_start(job.directory, {"start_policy_sha256": "a" * 64})
    with pytest.raises(UsageError, match="made anew since"):
        check_start(job.directory, {"start_policy_sha256": "b" * 64})


def test_a_policy_that_is_not_there_yet_says_what_to_do(tmp_path: Path) -> None:
    from loopkit.experiment.rundir import RunDir

    made = grid(tmp_path)
    first = made.run(GAME, "loophole", 0)
    second = made.run(GAME, "again", 0, channel={"channel": "loophole"}, start=first)
    RunDir(first.directory).begin(first.spec, {})
    with pytest.raises(UsageError, match="Finish that run first"):
        start_policy(second.spec, made.plugins, lambda d, t: None)


def test_an_experiment_goes_seed_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = grid(tmp_path)
    arms = ("base", "loophole", "control")
    specs = [made.run(GAME, arm, seed, channel={"channel": "loophole"}).spec for arm in arms for seed in (7, 3)]
    begun: list[str] = []
    monkeypatch.setattr(parallel, "run_jobs", lambda jobs, *_: begun.extend(j.name for j in jobs) or [])
    run_all(specs, tmp_path, PolicyRef(""), 1, lambda event: None)
    assert begun == [f"{arm}-s{seed}" for seed in (7, 3) for arm in arms]
