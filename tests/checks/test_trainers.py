"""check_trainer: correct trainers pass, and every way of breaking one is named with its cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loopkit.checks import Report, check_trainer
from loopkit.checks.report import TRAINER_RULES
from loopkit.contracts import Options, PolicyRef, Trainer
from loopkit.errors import UsageError
from tests.checks.broken_trainers import (
    BROKEN_TRAINERS,
    SETUP,
    Adapter,
    Canned,
    Careless,
    NeedsOption,
    Reads,
    SavesRarely,
)
from tests.checks.table import CURE, complaints, documented, told

NEW_PROCESS = ("restarted", "deterministic")


def check(trainer: type[Trainer], folder: Path, check: str = "", **more: Any) -> Report:
    """In ``folder``, from a start policy there; with a new process where ``check`` may need one."""
    start = folder / "start"
    start.mkdir(parents=True, exist_ok=True)
    (start / "config.json").touch()
    more.setdefault("new_process", check in NEW_PROCESS)
    return check_trainer(trainer, workdir=folder / "work", start=PolicyRef(str(start)), setup=SETUP, **more)


@pytest.mark.parametrize("trainer", [Canned, Reads, SavesRarely, Adapter])
def test_correct_trainers_are_proven(trainer: type[Trainer], tmp_path: Path) -> None:
    report = check(trainer, tmp_path, new_process=True, name="mine")
    assert (report.name, report.status, report.reasons) == ("mine", "proven", ())
    made = [c for c in TRAINER_RULES if c != "served" or trainer.source == "referee"]
    assert [f.check for f in report.findings] == made
    assert not any(f.left_out for f in report.findings)
    assert (tmp_path / "work" / "restarted" / "step-000003").exists()


def test_where_it_continued_is_said(tmp_path: Path) -> None:
    said = {f.check: f.message for f in check(Canned, tmp_path, new_process=True).findings}
    assert said["resumed"].endswith("killed with 1 steps recorded, continued from step 1.")
    assert said["restarted"].endswith("killed with 2 steps recorded, continued from step 1.")
    said = {f.check: f.message for f in check(SavesRarely, tmp_path / "rarely").findings}
    assert said["resumed"].endswith("continued from step 0.")


def test_a_trainer_that_does_not_claim_determinism_is_not_held_to_it(tmp_path: Path) -> None:
    report = check(Careless, tmp_path)
    assert report.status == "proven"
    assert "deterministic" not in [f.check for f in report.findings]


@pytest.mark.parametrize("name", BROKEN_TRAINERS)
def test_broken_trainer_fails_with_the_cure(name: str, tmp_path: Path) -> None:
    trainer, kind, fragment = BROKEN_TRAINERS[name]
    report = check(trainer, tmp_path, check=kind)
    assert report.status == "fails"
    assert any(fragment in message for message in complaints(report, kind)), report.reasons
    for reason in report.reasons:
        assert CURE.search(reason), f"no cure: {reason}"
    assert documented("trainers")[name] == (kind, told(report, kind, fragment)), "run python -m tests.checks.table"


def test_every_broken_trainer_of_the_table_is_tested() -> None:
    assert documented("trainers").keys() == BROKEN_TRAINERS.keys()


def test_options_must_be_the_trainers_own(tmp_path: Path) -> None:
    report = check(NeedsOption, tmp_path / "a", options=Options())
    assert "Pass the trainer's own" in complaints(report, "trainer")[0]
    assert check(NeedsOption, tmp_path / "b", options=NeedsOption.Options(rate=1.0)).status == "proven"
    assert check(NeedsOption, tmp_path / "c", options={"rate": 1.0}).status == "proven"
    report = check(NeedsOption, tmp_path / "d", options={"rat": 1.0})
    assert "rat" in complaints(report, "trainer")[0]


def test_trainer_is_checked_in_a_fresh_directory(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "old").touch()
    with pytest.raises(UsageError, match="Pass a fresh directory"):
        check(Canned, tmp_path)


def test_one_that_cannot_travel_leaves_the_new_process_out(tmp_path: Path) -> None:
    class Local(Canned):
        pass

    report = check(Local, tmp_path, new_process=True)
    assert report.status == "proven"
    assert [f.check for f in report.findings if f.left_out] == ["restarted"]
