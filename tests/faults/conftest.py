"""An uninterrupted run, and one that was killed after its third step."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loopkit.experiment import digests
from tests.faults import small


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert small.finish(out) == []
    return out


@pytest.fixture
def killed(whole: Path, tmp_path: Path) -> Path:
    """What a kill in step 3 leaves: steps 0 to 2 recorded, checkpoints after 1, 2 and 3 steps, no evaluation."""
    out = tmp_path / "killed"
    shutil.copytree(whole, out)
    run = out / "loophole-s0"
    shutil.rmtree(run / "eval")
    shutil.rmtree(run / f"checkpoints/step-{small.STEPS:06d}")
    for kind in ("rollouts", "scores"):
        (run / kind / "step-000003.parquet").unlink()
    lines = (run / "steps.jsonl").read_text().splitlines(keepends=True)
    (run / "steps.jsonl").write_text("".join(lines[:3]))
    known = digests.read(run)
    assert known is not None
    known.steps.pop(3)
    known.forget(lambda name: digests.step_of(name) == 3 or name.startswith("eval/"))
    known.finished = False
    known.write(run)
    return out
