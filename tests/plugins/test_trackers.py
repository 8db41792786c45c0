"""wandb (offline) and Trackio, as they are: what they keep is read back. Skipped where not installed; 10 CPU s."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopkit.errors import LoopkitError
from tests.plugins.test_tensorboard import run, told  # noqa: F401

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path

from tests.plugins.test_tensorboard import told

told(Path(sys.argv[1]), {0: 1.0, 1: 2.0})
"""


def tracked(library: str, run: Path, **variables: str) -> None:  # noqa: F811
    """Two steps and an evaluation, told in a process of their own, as a run is; these libraries warn of their own."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install 'loopkit-rl[{library}]'")
    done = subprocess.run([sys.executable, "-c", SCRIPT, run], cwd=ROOT, env={**os.environ, **variables},
                          capture_output=True, text=True, timeout=250)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def logged(data: bytes) -> Iterator[bytes]:
    """The records of wandb's file: LevelDB's log format, blocks of 32 KiB, after a header of 7 bytes."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def offline(folder: Path) -> tuple[dict[int, dict[str, float]], Any]:
    """(step -> numbers, the run's record) of the one offline run of wandb in a folder."""
    from wandb.proto import wandb_internal_pb2 as records

    (file,) = folder.rglob("*.wandb")
    history: dict[int, dict[str, float]] = {}
    about = None
    for data in logged(file.read_bytes()):
        record = records.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            numbers = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
            history.setdefault(int(numbers["_step"]), {}).update(numbers)
        elif record.WhichOneof("record_type") == "run":
            about = record.run
    return history, about


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_steps_and_evaluation_offline(run: Path, tmp_path: Path) -> None:  # noqa: F811
    tracked("wandb", run, LOOPKIT_WANDB="mine", WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    history, about = offline(tmp_path / "wandb")
    assert (about.project, about.run_group, about.display_name) == ("mine", "experiment", "loophole-s0")
    assert [history[k]["reward/paid"] for k in (0, 1)] == [1.0, 2.0]
    assert history[0]["exploit/gap"] == 0.5
    assert history[2]["heldout/test-step-000002/score/task"] == 0.75


@pytest.mark.slow
def test_trackio_keeps_steps_and_evaluation(run: Path, tmp_path: Path) -> None:  # noqa: F811
    tracked("trackio", run, LOOPKIT_TRACKIO="mine", TRACKIO_DIR=str(tmp_path / "tio"), HF_HUB_OFFLINE="1")
    (file,) = (tmp_path / "tio").glob("mine*.db")
    rows = sqlite3.connect(file).execute("select run_name, step, metrics from metrics order by step").fetchall()
    kept = {step: json.loads(metrics) for _, step, metrics in rows}
    assert {name for name, *_ in rows} == {"experiment/loophole-s0"}
    assert [kept[k]["reward/paid"] for k in (0, 1)] == [1.0, 2.0]
    assert kept[2]["heldout/test-step-000002/score/task"] == 0.75


@pytest.mark.parametrize("library", ["wandb", "trackio"])
def test_nothing_is_kept_unless_asked_for_and_a_missing_library_is_said(
    library: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delenv(f"LOOPKIT_{library.upper()}", raising=False)
    before = sorted(tmp_path.rglob("*"))
    told(run, {0: 1.0})
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [run / "steps.jsonl"]
    monkeypatch.setenv(f"LOOPKIT_{library.upper()}", "mine")
    with pytest.raises(LoopkitError, match=rf"pip install 'loopkit-rl\[{library}\]'"):
        told(run, {1: 1.0})


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_is_a_plugin_of_at_most_60_lines(name: str) -> None:
    files = list((ROOT / f"plugins/loopkit_{name}").glob("*.py"))
    assert sum(len(f.read_text(encoding="utf-8").splitlines()) for f in files) <= 60
