"""The public names, and what importing loopkit costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import loopkit

NAMES = [
    "__version__",
    "Assessment", "Audit", "Decode", "Dialogue", "Done", "Draw", "Estimate", "Experiment", "ExploitDetector", "Game",
    "Intervention", "LocalReferee", "LoopkitError", "Message", "Monitor", "Options", "Placebo", "Policy", "PolicyRef",
    "Probe", "Range", "Referee", "RefereeClient", "Reporting", "RewardChannel", "Rollout", "RolloutSet", "RunSpec",
    "SimpleGame", "Slot", "StepMetrics", "Task", "Tiny", "Trainer", "Turn", "check_game", "check_intervention",
    "check_trainer", "compare", "evaluate", "hookimpl", "pay", "play", "probe", "read", "rule", "run", "serve", "study",
    "watch",
]  # fmt: skip
"""What third parties build on. Taking a name away, or giving it another meaning, is a breaking change."""
HEAVY = ("torch", "transformers", "numpy", "scipy", "pyarrow", "pydantic", "rich", "structlog", "tabulate")


def test_the_public_names_are_these() -> None:
    assert loopkit.__all__ == NAMES
    assert dir(loopkit) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    assert getattr(loopkit, name) is not None


def test_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gmae'"):
        loopkit.Gmae  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(loopkit.__file__).read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {str(n.module): [a.name for a in n.names] for n in block.body if isinstance(n, ast.ImportFrom)}
    assert seen == {f"loopkit.{module}": list(names) for module, names in loopkit._HOMES.items()}


def loaded(code: str) -> set[str]:
    code = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr))


@pytest.mark.parametrize(
    "code",
    [
        "import loopkit",
        "import loopkit.cli\ntry:\n    loopkit.cli.main(['--help'])\nexcept SystemExit as e:\n    assert not e.code",
    ],
    ids=["import", "help"],
)
def test_import_and_help_are_light(code: str) -> None:
    modules = loaded(code)
    assert "loopkit" in modules
    assert not modules & set(HEAVY)


def test_help_is_quick() -> None:
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        done = subprocess.run([Path(sys.executable).parent / "loopkit", "--help"], capture_output=True, check=True)
        taken.append(time.perf_counter() - began)
        assert b"loopkit run --game" in done.stdout
    print(f"loopkit --help: best of 5 {min(taken):.3f} s")
    assert min(taken) < 1.0
