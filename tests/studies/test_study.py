"""Studies for real, as small as can be: from the command to tables, killed at any moment, and repeated."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopkit.evidence import schema
from tests.runs import without_digests

SMALL = [
    "--seeds", "2", "--set", "run.steps=2", "--set", "run.prompts_per_step=4", "--set", "run.group_size=2",
    "--set", "run.eval_prompts=16",
]  # fmt: skip
TWO = ["--games", "context-compliance,self-grading"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from loopkit.cli import main; main()", "study", *arguments]


def study(where: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), cwd=where, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def result(where: Path, name: str) -> schema.StudyResults:
    (file,) = where.glob(f"runs/study-{name}-*/results.json")
    return schema.read(file)


def records(where: Path) -> dict[str, bytes]:
    """Everything but what may differ between two equal runs."""
    files = (p for p in sorted((where / "runs").rglob("*")) if p.is_file())
    return {
        str(p.relative_to(where)): p.read_bytes()
        for p in files
        if p.name not in ("timings.jsonl", ".lock", "error.txt") and not p.name.startswith(".tmp-")
    }


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, uninterrupted."""
    where = tmp_path_factory.mktemp("paper")
    study(where, "paper", *TWO, *SMALL)
    return where


@pytest.mark.slow
def test_paper_prints_a_table_and_writes_its_files(paper: Path) -> None:
    found = result(paper, "paper")
    assert [s.name for s in found.sections] == [
        "main", "columns-context-compliance", "columns-self-grading", "discovery", "verdicts", "monitors",
    ]  # fmt: skip
    rows = found.section("main").rows
    assert {(r.keys["game"], r.keys["arm"]) for r in rows} == {
        (g, a) for g in TWO[1].split(",") for a in ("base", "loophole", "control", "placebo")
    }
    assert all(len(r.cells["exploit"].seeds) == 2 for r in rows)
    directory = next((paper / "runs").glob("study-paper-*"))
    assert {p.name for p in directory.iterdir()} >= {"study.toml", "results.json", "results.csv", "table.tex"}
    for run in found.runs:
        assert (directory / run.directory / "run.toml").is_file()
    assert len(found.made.hardware) == 1


@pytest.mark.slow
def test_repeating_changes_nothing_and_transfer_only_evaluates(paper: Path) -> None:
    before = records(paper)
    said = study(paper, "paper", *TWO, *SMALL, "--json").stdout
    assert records(paper) == before
    assert json.loads(said)["study"] == "paper"
    planned = json.loads(study(paper, "paper", *TWO, *SMALL, "--dry-run", "--json").stdout)
    assert planned["total"]["to make"] == 0
    steps = {p: p.stat().st_mtime_ns for p in (paper / "runs").glob("*/*/steps.jsonl")}
    study(paper, "transfer", *TWO, *SMALL)
    assert {p: p.stat().st_mtime_ns for p in (paper / "runs").glob("*/*/steps.jsonl")} == steps
    assert len(result(paper, "transfer").section("transfer").cells) == 2


@pytest.mark.nightly
def test_killed_at_any_moment_and_repeated_it_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """persistence: three stages, runs that start from runs, and a checkpoint chosen by what was measured."""
    arguments = ["persistence", "--games", "context-compliance", *SMALL, "--set", "study.corrections=control"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    began = time.monotonic()
    study(whole, *arguments)
    lasted = time.monotonic() - began
    draw = random.Random(7)
    kills = 0
    for _ in range(6):
        process = subprocess.Popen(command(*arguments), cwd=killed, env=ENVIRONMENT, stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        try:
            process.wait(lasted * draw.uniform(0.15, 0.6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    time.sleep(1)  # the killed command's runs end with it, but not before it
    study(killed, *arguments)
    assert kills
    assert records(killed).keys() == records(whole).keys()
    differ = [name for name, data in records(killed).items() if data != records(whole)[name]]
    assert not differ
    assert result(killed, "persistence").section("verdicts").items


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        pytest.param("catalysis", TWO, marks=pytest.mark.nightly),
        pytest.param("propagation", TWO, marks=pytest.mark.nightly),
        pytest.param("dose", ["--set", "study.doses=0.1,0.3,0.6"], marks=pytest.mark.nightly),
        pytest.param("algorithms", ["--set", "study.trainers=grpo,rloo"], marks=pytest.mark.nightly),
        pytest.param("mitigations", ["--games", "self-grading"], marks=pytest.mark.nightly),
    ],
)
def test_each_study_ends_with_its_sections(name: str, more: list[str], paper: Path) -> None:
    said = study(paper, name, *more, *SMALL).stdout
    found = result(paper, name)
    assert found.sections
    assert found.what in " ".join(said.split())
    assert all(run.spec_hash for run in found.runs)


@pytest.mark.nightly
def test_runs_of_other_weights_are_not_mixed_in(tmp_path: Path) -> None:
    arguments = ["paper", "--games", "self-grading", *SMALL]
    study(tmp_path, *arguments)
    manifest = next((tmp_path / "runs").glob("self-grading-*/loophole-s1/manifest.json"))
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**data, "start_policy_sha256": "f" * 64}))
    without_digests(manifest.parent)  # else it is refused as damaged, sooner
    done = study(tmp_path, *arguments, code=2)
    assert "weights of the start policy differ" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "no study 'nope'"),
        (["conditions"], "tiny has but one"),
        (["paper", "--set", "arms.loophole.rate=0.2"], "section.name=value"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = study(tmp_path, *arguments, "--dry-run", code=2)
    assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "runs").exists()
