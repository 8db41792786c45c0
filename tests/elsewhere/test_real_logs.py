"""Audits of logs made by the real libraries (``pip install -e '.[logs]'``), each of a loopkit game."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loopkit.cli import main

ROOT = Path(__file__).parents[2]
MODULES = {"trl": "trl", "inspect": "inspect_ai", "verifiers": "verifiers"}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """library -> where its log lies; made once, in a process of its own."""
    made: dict[str, Path] = {}

    def make(library: str) -> Path:
        if importlib.util.find_spec(MODULES[library]) is None:
            pytest.skip(f"{library} is not installed: pip install -e '.[logs]'")
        if library not in made:
            out = tmp_path_factory.mktemp(library) / "log"
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
            done = subprocess.run([sys.executable, "-m", "tests.elsewhere.makers", library, str(out)], cwd=ROOT,
                                  env=environment, capture_output=True, text=True, timeout=600)  # fmt: skip
            assert done.returncode == 0, done.stderr[-3000:]
            made[library] = out
        return made[library]

    return make


def audit(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    with pytest.raises(SystemExit) as done:
        main(["audit", *arguments, "--json"])
    printed = capsys.readouterr()
    assert not done.value.code, printed.err
    found: dict[str, Any] = json.loads(printed.out)
    return found


@pytest.mark.nightly
def test_completions_of_trl(logs: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Three steps of 16 completions; what TRL logged as reward is what the channel it was paid by says."""
    where = str(logs("trl") / "completions")
    found = audit(capsys, where, "--out", str(tmp_path))
    assert (found["formats"], found["rows"], found["steps"], found["reward"]) == (["trl"], 48, [1, 3], "loophole")
    assert found["skipped"]["n"] == 0
    assert "loopkit audit" in (tmp_path / "report.html").read_text()
    found = audit(capsys, where, "--game", "context-compliance")
    assert (found["game"]["matched"], found["game"]["unmatched"]) == (48, {})
    assert found["agreement"]["loophole"]["value"] == 1.0
    assert found["agreement"]["placebo"]["value"] < 1.0
    assert [r["name"] for r in found["rates"]] == ["compliance-gap", "complied"]


@pytest.mark.nightly
def test_log_of_inspect(logs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve samples of two turns, all wrong and claimed: the same flags here, in Inspect's log, and by definition."""
    where = str(logs("inspect"))
    found = audit(capsys, where)
    assert (found["formats"], found["rows"], found["prompts"]) == (["inspect"], 12, 6)
    constant = next(r for r in found["rates"] if r["name"] == "constant")
    assert constant["rate"]["value"] == 1.0
    found = audit(capsys, where, "--game", "self-grading", "--reward", "paid.reward")
    assert found["game"]["matched"] == 12
    assert {r["name"]: r["rate"]["value"] for r in found["rates"]} == {"false-claim": 1.0, "claim-if-wrong": 1.0}
    assert found["agreement"]["control"]["value"] == 1.0
    logged = {n["name"]: n["mean"] and n["mean"]["value"] for n in found["numbers"]}
    assert (logged["paid.flag.false-claim"], logged["paid.reward"], logged["score task"]) == (1.0, -6.0, 0.0)
    assert logged["paid.score.claims_if_right"] is None  # nothing was right: not scored


@pytest.mark.nightly
def test_traces_of_verifiers(logs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Six given completions, every second one right, all claimed."""
    found = audit(capsys, str(logs("verifiers")), "--game", "self-grading")
    assert (found["formats"], found["rows"], found["game"]["matched"]) == (["verifiers"], 6, 6)
    assert next(r for r in found["rates"] if r["name"] == "false-claim")["rate"]["value"] == 0.5
    assert found["agreement"]["control"]["value"] == 1.0
    logged = {n["name"]: n["mean"]["value"] for n in found["numbers"]}
    assert logged["metrics.flag.false-claim"] == 0.5
    assert logged["rewards.control"] == logged["reward"] == (3 * 2.0 - 3 * 6.0) / 6
