"""What tests do to run directories."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from loopkit.contracts import Game
from loopkit.experiment import digests
from loopkit.experiment.resolve import build_game
from loopkit.experiment.rundir import RunDir
from loopkit.experiment.shards import write_shard
from loopkit.registry import plugins


def without_digests(run: Path) -> Path:
    """The run as a version without digests would have left it."""
    (run / digests.FILE).unlink()
    manifest = json.loads((run / "manifest.json").read_bytes())
    del manifest[digests.KEPT]
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


@cache
def _game() -> Game:
    return build_game(plugins.load(), "self-grading", {})


def flag_step(run: RunDir, step: int, detectors: Iterable[str], share: float | None) -> None:
    """Write the derived rows of a step's 256 rollouts of self-grading, of which this share is flagged."""
    clues = {f"clue.{name}": "0" for name in _game().clues}
    rows = []
    for i, task in enumerate(_game().tasks("train")[:256]):
        flag = None if share is None else i < round(256 * share)
        flags = {f"flag.{name}": flag for name in detectors}
        rows.append({"slot": f"train/000000/{i:04d}/{task.id}", **clues, **flags})
    write_shard(run.path / "scores" / f"step-{step:06d}.parquet", rows)
