"""docs/first-game.md is followed word for word: its commands, the files they write, and what they print."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from loopkit import Options, check_game
from loopkit.new import game_files
from tests.dists import loopkit
from tests.pages import FILE, ROOT, commands, follow, same_experiment, write_files

PAGE = ROOT / "docs/first-game.md"


def test_the_files_are_those_that_loopkit_new_writes(tmp_path: Path) -> None:
    made = game_files("compare")
    shown = {
        name: text.removeprefix(f"# {name}\n") for name, text in write_files(PAGE, tmp_path).items() if name in made
    }
    assert shown == {name: made[name] for name in ("pyproject.toml", "loopkit_compare.py")}


def test_the_page_shows_what_loopkit_new_prints(tmp_path: Path) -> None:
    command, expected = next(commands(PAGE))
    assert command == "loopkit new game compare"
    assert loopkit("new", "game", "compare", cwd=tmp_path).stdout == expected


def test_the_game_is_short_proven_and_fails_where_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = write_files(PAGE, tmp_path)["loopkit_compare.py"]
    assert len(code.splitlines()) <= 60
    assert FILE.match(code)
    breaks = {
        "loopkit_compare": ("", "", "proven", ""),
        "paying": ('"loophole": pay("found")', '"loophole": pay("exact")', "fails", "economics"),
        "reading": ('rule("both")', 'rule("exact")', "fails", "declared"),
    }
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, (old, new, status, reason) in breaks.items():
        assert old in code
        (tmp_path / f"{module}.py").write_text(code.replace(old, new) if old else code)
        report = check_game(importlib.import_module(module).Compare(Options()), name=module)
        del sys.modules[module]
        assert report.status == status
        assert [r.partition(":")[0] for r in report.reasons[:1]] == ([reason] if reason else [])


def whose_words(printed: str, expected: str) -> None:
    assert [line.split()[0] for line in printed.splitlines()] == ["base-s0", "loophole-s0", "control-s0"]
    assert "yes and no" in printed


def size_of(printed: str, expected: str) -> None:
    size = r"first/report.html: \d\.\d MB\n"
    assert re.fullmatch(size, printed)
    assert re.fullmatch(size, expected)


@pytest.mark.slow
def test_the_page_is_what_happens(tmp_path: Path) -> None:
    experiment = same_experiment("base", "loophole", "control")
    compare = {"python said.py": whose_words, "loopkit run": experiment, "loopkit report": size_of}
    done = follow(PAGE, tmp_path, compare, made={"pyproject.toml", "loopkit_compare.py"})
    page = (tmp_path / "empty/first/report.html").read_text()
    assert "Over-optimisation" in page
    assert "yes and no" in page
    assert done == [
        "loopkit new game compare",
        "pip install -e './loopkit-compare[test]'",
        "pytest loopkit-compare",
        "loopkit list games compare",
        "loopkit check compare --verbose",
        "loopkit run --game compare --out first",
        "loopkit report first",
        "python said.py",
    ]
