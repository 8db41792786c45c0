"""Runs that differ in more than what is compared are refused, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loopkit.errors import UsageError
from loopkit.registry import plugins as registry
from loopkit.running.parallel import Job
from loopkit.studies.comparable import require_comparable
from loopkit.studies.grid import Grid
from loopkit.system.files import to_json, write_whole

GAME = "self-grading"


def jobs(out: Path, *changes: dict[str, Any]) -> list[Job]:
    """A loophole run a change of settings, each with a manifest."""
    made = []
    for k, change in enumerate(changes):
        grid = Grid(registry.load(), out / str(k), (GAME,), (0,), settings=change)
        made.append(grid.run(GAME, "loophole", 0))
        note(made[-1], start_policy_sha256="a" * 64, loopkit="1", device="cpu: one")
    return made


def note(job: Job, **manifest: str) -> None:
    write_whole(job.directory / "manifest.json", to_json(manifest))


def test_alike_runs_pass(tmp_path: Path) -> None:
    require_comparable(jobs(tmp_path, {}, {}))
    require_comparable([])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": {"steps": 9}}, "budget differ"),
        ({"run": {"eval_prompts": 9}}, "evaluation differ"),
        ({"game": {"claim_share": 0.3}}, "game options differ"),
        ({"trainer": {"beta": 0.3}}, "trainer options differ"),
    ],
)
def test_another_budget_game_or_trainer_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        require_comparable(jobs(tmp_path, {}, change))
    require_comparable(jobs(tmp_path, {}, change), [said.removesuffix(" differ")])


def test_another_game_version_is_refused(tmp_path: Path) -> None:
    one, two = jobs(tmp_path, {}, {})
    newer = two.spec.model_copy(update={"game_version": 99})
    with pytest.raises(UsageError, match="game version differ"):
        require_comparable([one, Job(newer, two.out)])


def test_other_start_weights_are_refused(tmp_path: Path) -> None:
    one, two = jobs(tmp_path, {}, {})
    note(two, start_policy_sha256="b" * 64, loopkit="1")
    with pytest.raises(UsageError, match=r"weights of the start policy differ.*Remove the older run"):
        require_comparable([one, two])


def test_other_hardware_is_no_reason(tmp_path: Path) -> None:
    one, two = jobs(tmp_path, {}, {})
    note(two, start_policy_sha256="a" * 64, loopkit="1", device="cuda: another")
    require_comparable([one, two])
