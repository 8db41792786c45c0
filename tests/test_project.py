"""What the project promises of itself: typed, strict, linted, warnings are errors, tests in random order."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOL: dict[str, Any] = PROJECT["tool"]


def test_the_wheel_has_the_marker_the_plugins_and_the_embedded_policy(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "loopkit/py.typed" in names
    for folder in ("loopkit", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "plugins").glob("loopkit_*"))):
        sources = {p.relative_to(ROOT / folder).as_posix() for p in (ROOT / folder).rglob("*.py")}
        assert {f"{Path(folder).name}/{s}" for s in sources} <= names
    assert "loopkit/policy/tiny_weights/model.safetensors" in names
    templates = {p.relative_to(ROOT).as_posix() for p in (ROOT / "loopkit/new/template").rglob("*") if p.is_file()}
    assert len(templates) == 20
    templates |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "loopkit/export/templates").rglob("*.j2")}
    assert templates <= names
    assert not [n for n in names if n.startswith(("tests", "docs", "benchmarks")) or "__pycache__" in n]
    points = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    group = points.partition("[loopkit]")[2].partition("[")[0]
    found = {line.partition(" = ")[2] for line in group.splitlines() if " = loopkit_" in line}
    # OpenEnv finds the graders by its own group
    folders = {p.parent.name for p in (ROOT / "plugins").glob("loopkit_*/__init__.py")} - {"loopkit_openenv"}
    assert found == folders
    assert points.partition("[openenv.validation.graders]")[2].count(" = loopkit_openenv.") == 3


def test_types_are_strict_and_lints_are_on() -> None:
    assert TOOL["mypy"]["strict"] is True
    assert {"loopkit", "plugins"} <= set(TOOL["mypy"]["files"])
    loosened = [o["module"] for o in TOOL["mypy"]["overrides"] if set(o) - {"module", "ignore_missing_imports",
                                                                            "follow_imports"}]  # fmt: skip
    # These two run in OpenRLHF's own interpreter, whose types are not here.
    assert loosened == [["loopkit_openrlhf.agent", "loopkit_openrlhf.parse"]]
    assert {"E", "F", "W", "I", "B", "UP", "C4", "SIM", "RUF", "PT"} <= set(TOOL["ruff"]["lint"]["select"])


@pytest.mark.parametrize(
    "command", ["ruff check .", "ruff format --check .", "mypy", "pytest -m 'slow and not nightly'"]
)
def test_ci_runs(command: str) -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "set -euo pipefail" in script
    assert re.search(rf"^\.venv/bin/{re.escape(command)}( |$)", script, re.M)


def test_warnings_are_errors() -> None:
    assert TOOL["pytest"]["ini_options"]["filterwarnings"][0] == "error"
    with pytest.raises(UserWarning, match="so"):
        warnings.warn("so", UserWarning, stacklevel=1)


def test_tests_run_in_random_order(tmp_path: Path) -> None:
    """In a run of its own, since this one may have been asked for another order."""
    (tmp_path / "test_many.py").write_text("".join(f"def test_{i}(): pass\n" for i in range(30)))
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-c", str(ROOT / "pyproject.toml"),
               "--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    found = [int(n) for n in re.findall(r"::test_(\d+)$", done.stdout, re.M)]
    assert sorted(found) == list(range(30)), done.stdout + done.stderr
    assert found != sorted(found)


@pytest.mark.slow
def test_type_checkers_see_loopkits_types_from_outside(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("from loopkit import check_game\n\nreveal_type(check_game)\ncheck_game(3)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "outside.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "py.typed" not in done.stdout
    assert 'Revealed type is "def (game: loopkit.contracts.Game' in done.stdout
    assert 'Argument 1 to "check_game" has incompatible type "int"' in done.stdout
