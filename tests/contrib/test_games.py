"""The games of contrib/, each built as a wheel and installed in a fresh virtual environment."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

import loopkit
from tests.contrib.wheels import CONTRIB, install, run_tests

GAMES = {"loopkit-test-editing": "test-editing", "loopkit-pushback": "pushback"}
DOCUMENTED = {"loopkit.parts.data": {"read_labelled", "split_of"}}
"""Names that docs/ tells an author of games to import, of modules without ``__all__``."""


@pytest.mark.parametrize("name", GAMES)
def test_a_game_imports_public_names_alone(name: str) -> None:
    files = sorted((CONTRIB / name).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (isinstance(node, ast.Import) and any(a.name.startswith("loopkit.") for a in node.names)), file
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "loopkit":
                module = str(node.module)
                public = set(loopkit.__all__) | {"plugins"} if module == "loopkit" else DOCUMENTED.get(module)
                if public is None:
                    public = set(importlib.import_module(module).__all__)
                assert {a.name for a in node.names} <= public, f"{file}, line {node.lineno}"


@pytest.mark.parametrize("module", DOCUMENTED)
def test_such_names_are_in_the_documentation(module: str) -> None:
    text = "\n".join(p.read_text() for p in (CONTRIB.parent / "docs").rglob("*.md"))
    found = {
        n.strip() for names in re.findall(rf"from {re.escape(module)} import ([\w, ]+)", text) for n in names.split(",")
    }
    assert found >= DOCUMENTED[module]


@pytest.mark.nightly
@pytest.mark.parametrize("name", GAMES)
def test_its_wheel_is_checked_tested_and_played_by_tiny(name: str, tmp_path: Path) -> None:
    game = GAMES[name]
    fresh = install(name, tmp_path)
    assert fresh("loopkit", "doctor").stdout.rstrip().endswith("No problems found.")
    shown = json.loads(fresh("loopkit", "list", "games", game, "--json").stdout)
    assert shown["origin"] == f"{name} 0.1"
    (report,) = json.loads(fresh("loopkit", "check", game, "--json").stdout)
    assert report["status"] == "proven", report["reasons"]
    fresh("loopkit", "check", game, "--detectors")
    run_tests(fresh, name)
    small = ("--seeds", "1", "--jobs", "1", "--set", "run.eval_prompts=400", "--out", "out", "--json")
    results = json.loads(fresh("loopkit", "run", "--game", game, *small).stdout)
    rates = {r["arm"]: r["rates"][results["headline"]]["value"] for r in results["runs"]}
    assert rates["loophole"] > rates["base"] + 0.3
    assert rates["control"] < rates["loophole"] - 0.3
