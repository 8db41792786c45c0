"""docs/first-game.md is followed word for word: its commands, the files they write, and what they print."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopkit import Options, check_game
from loopkit.new import game_files
from tests.dists import Venv
from tests.test_docs import FILE, ROOT, blocks

PAGE = ROOT / "docs/first-game.md"
NEAR = 20
"""Points: another machine or another version of torch warms up other weights."""


def write_files(into: Path) -> dict[str, str]:
    """The page's files, by name."""
    found = {}
    for block in blocks(PAGE, "toml", "python"):
        named = re.match(r"# ([\w.]+)\n", block.text)
        assert named, f"line {block.line}: a file without a name"
        found[named[1]] = block.text
        (into / named[1]).write_text(block.text)
    return found


def test_the_files_are_those_that_loopkit_new_writes(tmp_path: Path) -> None:
    made = game_files("compare")
    shown = {name: text.removeprefix(f"# {name}\n") for name, text in write_files(tmp_path).items() if name in made}
    assert shown == {name: made[name] for name in ("pyproject.toml", "loopkit_compare.py")}


def test_the_game_is_short_proven_and_fails_where_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = write_files(tmp_path)["loopkit_compare.py"]
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


def commands() -> Iterator[tuple[str, str | None]]:
    """(command, what it prints) in the order of the page; the last command of a block prints the text that follows."""
    waiting: list[str] = []
    for block in blocks(PAGE, "console", "text"):
        if block.language == "text":
            yield from ((command, None) for command in waiting[:-1])
            yield waiting[-1], block.text
            waiting = []
        else:
            waiting += [line.removeprefix("$ ") for line in block.text.splitlines()]
    assert not waiting


@pytest.mark.slow
def test_the_page_is_what_happens(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    fresh = Venv(tmp_path / "venv", folder)
    done = []
    for command, expected in commands():
        program, *arguments = shlex.split(command)
        if program == "pytest":  # of the running environment, whose scripts the fresh one has not
            program, arguments = "python", ["-m", "pytest", *arguments]
        if arguments == ["said.py"]:
            (folder / "said.py").write_text(write_files(tmp_path)["said.py"])
        printed = "".join(f"{line.rstrip()}\n" for line in fresh(program, *arguments).stdout.splitlines())
        done.append(command)
        if expected is None:
            continue
        if arguments[0] == "report":
            size = r"first/report.html: \d\.\d MB\n"
            assert re.fullmatch(size, printed)
            assert re.fullmatch(size, expected)
            page = (folder / "first/report.html").read_text()
            assert "Over-optimisation" in page
            assert "yes and no" in page
        elif program == "python":
            assert [line.split()[0] for line in printed.splitlines()] == ["base-s0", "loophole-s0", "control-s0"]
            assert "yes and no" in printed
        elif arguments[0] == "run":
            same_experiment(printed, expected)
        else:
            assert untimed(printed) == untimed(expected)
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


def untimed(text: str) -> str:
    """Without the seconds that a check took."""
    return re.sub(r"\(\d+\.\d s\)", "(… s)", text)


def same_experiment(printed: str, expected: str) -> None:
    """The same tables, with numbers that are near, and the same verdict."""
    rows = [dict(_rows(text)) for text in (printed, expected)]
    assert rows[0].keys() == rows[1].keys()
    assert len(rows[0]) == 9
    for key, there in rows[1].items():
        here = rows[0][key]
        assert here[-1] == there[-1], key  # n
        assert all(abs(a - b) <= NEAR for a, b in zip(here, there, strict=True)), (key, here, there)
    said = [text[text.index("Verdict.") :].split(":")[0] for text in (printed, expected)]
    assert said == ["Verdict. Over-optimisation"] * 2
    known = r"^(arm|Every run|Over seeds|Onset|Records|compare, trained)"
    assert re.findall(known, printed, re.M) == re.findall(known, expected, re.M)


def _rows(text: str) -> Iterator[tuple[tuple[str, str], list[float]]]:
    """(arm, seed) -> task, observed, exploit rate, n of the first table."""
    for line in text.splitlines():
        if found := re.match(r"(base|loophole|control) +(\d) +(.*)", line):
            cells = re.findall(r"([\d.]+) \[[^]]*\] n=(\d+)", found[3])
            yield (found[1], found[2]), [*(float(value) for value, _ in cells), float(cells[0][1])]
