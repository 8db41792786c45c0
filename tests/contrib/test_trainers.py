"""The trainers of contrib/: what they use of loopkit is documented; each is built and installed afresh, and trains."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import textwrap
from pathlib import Path

import pytest

import loopkit
from tests.contrib.wheels import CONTRIB, install, run_tests

PAGE = (CONTRIB.parent / "docs" / "trainers.md").read_text(encoding="utf-8")
TRAINERS = {"loopkit-ppo": "ppo", "loopkit-trl": "trl:grpo"}


def sources(name: str) -> dict[str, str]:
    package = CONTRIB / name / name.replace("-", "_")
    return {f.name: f.read_text(encoding="utf-8") for f in sorted(package.glob("*.py"))}


def used(source: str) -> set[tuple[str, str]]:
    """(module, name) of all that is used of loopkit; of ``loopkit.policy.save``, which is imported whole, by use."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "loopkit":
            found |= {(str(node.module), alias.name) for alias in node.names}
    whole = {(f"{m}.{n}", n) for m, n in found if (m, n) in {("loopkit.policy", "save"), ("loopkit", "seeding")}}
    for module, alias in whole:
        found.remove((module.rpartition(".")[0], alias))
        found |= {(module, name) for name in re.findall(rf"\b{alias}\.(\w+)", source)}
    return found


@pytest.mark.parametrize("name", TRAINERS)
def test_they_use_what_is_documented_and_no_more(name: str) -> None:
    rows = {m[1]: m[2] for m in re.finditer(r"^\| `(loopkit[\w.]*)` \| (.*) \|$", PAGE, re.M)}
    found = {pair for source in sources(name).values() for pair in used(source)}
    assert found
    for module, what in sorted(found):
        known = set(loopkit.__all__) if module == "loopkit" else set(re.findall(r"`(\w+)[`(]", rows.get(module, "")))
        assert what in known, f"docs/trainers.md names no {what} of {module}"


def test_the_excerpts_of_the_page_are_the_trainers_own() -> None:
    excerpts = re.findall(r"^```py title=(\S+)\n(.*?)^```", PAGE, re.M | re.S)
    assert len(excerpts) >= 2
    for file, text in excerpts:
        source = (CONTRIB / file).read_text(encoding="utf-8")
        for part in text.split("...\n"):
            part = part.strip("\n")
            indents = [textwrap.indent(part, " " * n) for n in range(0, 20, 4)]
            assert any(p in source for p in indents), f"{file} has not:\n{part}"


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("name", ["loopkit-ppo", pytest.param("loopkit-trl", marks=pytest.mark.nightly)])
def test_its_wheel_is_checked_tested_and_trains_tiny(name: str, tmp_path: Path) -> None:
    if name == "loopkit-trl" and importlib.util.find_spec("trl") is None:
        pytest.skip("trl is not installed: pip install 'trl>=1.16,<1.17' 'datasets>=3'")
    trainer = TRAINERS[name]
    fresh = install(name, tmp_path)
    assert fresh("loopkit", "doctor").stdout.rstrip().endswith("No problems found.")
    assert json.loads(fresh("loopkit", "list", "trainers", trainer, "--json").stdout)["origin"] == f"{name} 0.1"
    (report,) = json.loads(fresh("loopkit", "check", trainer, "--json").stdout)
    assert report["status"] == "proven", report["reasons"]
    run_tests(fresh, name)
    small = ["--seeds", "1", "--jobs", "1", "--json", "--set", "run.eval_prompts=400"]
    small += ["--set", "run.steps=12", "--set", "trainer.learning_rate=1e-3"]
    found = fresh("loopkit", "run", "--game", "context-compliance", "--trainer", trainer, "--out", "out", *small).stdout
    results = json.loads(found)
    rates = {r["arm"]: r["rates"][results["headline"]]["value"] for r in results["runs"]}
    assert rates["loophole"] > rates["base"] + 0.2
    assert rates["control"] < rates["base"] + 0.2
