"""The commands of tools/: mutants are drawn alike whatever else changes, and nightly results are told as they are."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutants.__main__ import draw
from tools.mutants.operators import mutants
from tools.mutants.targets import TARGETS
from tools.nightly_page import page

ROOT = Path(__file__).parent.parent
SOURCE = '''
"""A module."""
LIMIT: int = 3

def held(x: float, most: float = 1.5) -> float:
    """Doc 1."""
    if x < most and not x == 0:
        note(f"{x + 1}", x)
    return clip(x, most) / 2
'''


def test_each_operator_changes_what_it_says_and_nothing_else() -> None:
    found = {(m.operator, m.before, m.after) for m in mutants(SOURCE, "m.py")}
    assert found == {
        ("constant", "3", "4"), ("constant", "3", "2"), ("constant", "1.5", "2.5"), ("constant", "1.5", "0.5"),
        ("condition", "x < most and not x == 0", "(not (x < most and (not x == 0)))"),
        ("and/or", "x < most and not x == 0", "(x < most or not x == 0)"),
        ("comparison", "x < most", "(x <= most)"), ("comparison", "x == 0", "(x != 0)"),
        ("constant", "0", "1"), ("constant", "0", "-1"),
        ("dropped call", 'note(f"{x + 1}", x)', "pass"),
        ("swapped arguments", 'note(f"{x + 1}", x)', "note(x, f'{x + 1}')"),
        ("return", "return clip(x, most) / 2", "return 0"), ("arithmetic", "clip(x, most) / 2", "(clip(x, most) * 2)"),
        ("swapped arguments", "clip(x, most)", "clip(most, x)"), ("constant", "2", "3"), ("constant", "2", "1"),
    }  # fmt: skip
    for m in mutants(SOURCE, "m.py"):
        assert ast.dump(ast.parse(m.text)) != ast.dump(ast.parse(SOURCE))
        assert m.diff(SOURCE).count("\n+") == 1


def test_a_mutant_keeps_its_name_when_another_function_changes() -> None:
    here = {m.name for m in mutants(SOURCE, "m.py")}
    there = {m.name for m in mutants("def other(a, b):\n    return a + b\n" + SOURCE, "m.py")}
    assert here < there


def test_at_least_150_are_drawn_and_their_tests_are_there() -> None:
    assert sum(len(draw(module, target.count, "1")) for module, target in TARGETS.items()) >= 150
    named = {path.partition("::")[0] for target in TARGETS.values() for path in (*target.tests, *target.slow)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.nightly
def test_mutants_of_a_copy_are_noticed_and_the_checkout_is_left_alone(tmp_path: Path) -> None:
    before = (ROOT / "loopkit/seeding.py").read_bytes()
    words = ["--only", "seeding", "--count", "2", "-j", "2", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(
        [sys.executable, "-m", "tools.mutants", *words, "--against", str(tmp_path / "found.json")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| all \| 2 \| 2 \| 0 \| 0 \|$", done.stdout, re.M)
    assert (ROOT / "loopkit/seeding.py").read_bytes() == before


def test_the_nightly_page_counts_what_ran_and_names_what_failed(tmp_path: Path) -> None:
    cases = '<testcase classname="a" name="b"/><testcase classname="a" name="c"><failure/></testcase>'
    (tmp_path / "x.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    text = page({"nightly": tmp_path / "x.xml"}, "  1.5 min   2.0 CPU min  nightly tests\n", "abc1234", "2026-11-30")
    assert "Commit `abc1234`, 2026-11-30." in text
    assert "| nightly | 1 | 1 | 0 |" in text
    assert "- `a::c`" in text
    assert "1.5 min" in text


def test_a_script_tells_its_minutes_by_part_however_it_ends() -> None:
    script = "set -e; . .ci/parts.sh; part first; python3 -c 'pass'; part second; false; part third"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    told = re.findall(r"^ *[\d.]+ min +[\d.]+ CPU min  (.*)$", done.stdout, re.M)
    assert told == ["first", "second"]


@pytest.mark.slow
def test_the_check_of_a_gpu_runs_without_one_and_says_that_it_had_none() -> None:
    """With a small model on the processor, each of its checks passes; without --cpu it refuses."""
    done = subprocess.run(
        [sys.executable, "tools/gpu_check", "--cpu", "--small"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\npassed  ") == 6
    blind = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    assert subprocess.run([sys.executable, "tools/gpu_check"], cwd=ROOT, env=blind, capture_output=True).returncode == 2
