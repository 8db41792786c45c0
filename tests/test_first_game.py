"""docs/first-game.md and docs/packaging-a-game.md are followed word for word: commands, files, and what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loopkit import check_game
from loopkit.new import game_files
from loopkit.registry import plugins
from tests.dists import loopkit
from tests.pages import ROOT, commands, follow, same_experiment, write_files

PAGE = ROOT / "docs/first-game.md"
PACKAGING = ROOT / "docs/packaging-a-game.md"


def test_the_page_is_short() -> None:
    assert len(PAGE.read_text().splitlines()) <= 115


def test_the_game_is_short_proven_and_fails_where_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = write_files(PAGE, tmp_path)["my_game.py"].removeprefix("# my_game.py\n")
    assert len(code.splitlines()) <= 30
    assert len(set(re.findall(r"loopkit\.\w+|def (\w+)\(self", code))) <= 10
    monkeypatch.chdir(tmp_path)
    goal = "return words(reply) == [answer]"
    for name, changed, status, check in (
        ("my_game", code, "proven", ""),
        ("right", code.replace("return answer in words(reply)", goal), "fails", "economics"),
        ("blind", code.replace('return {"yes", "no"} <= set(words(reply))', "return False"), "fails", "detector"),
    ):
        (tmp_path / f"{name}.py").write_text(changed)
        report = check_game(plugins.load().game(f"{name}.py:Compare")(), name=name, fuzz=100)
        assert report.status == status, report.reasons
        assert [r.partition(":")[0] for r in report.reasons[:1]] == ([check] if check else [])


def test_the_files_are_those_that_loopkit_new_writes(tmp_path: Path) -> None:
    made = game_files("compare")
    shown = {
        name: text.removeprefix(f"# {name}\n")
        for name, text in write_files(PACKAGING, tmp_path).items()
        if name in made
    }
    assert shown == {name: made[name] for name in ("pyproject.toml", "loopkit_compare.py")}


def test_the_packaged_game_is_the_one_of_the_first_page(tmp_path: Path) -> None:
    first = write_files(PAGE, tmp_path)["my_game.py"]
    packaged = write_files(PACKAGING, tmp_path)["loopkit_compare.py"]
    methods = [text[text.index("    def questions") :].split("\n\n\n")[0].rstrip() for text in (first, packaged)]
    assert methods[0] == methods[1]


def test_the_page_shows_what_loopkit_new_prints(tmp_path: Path) -> None:
    command, expected = next(commands(PACKAGING))
    assert command == "loopkit new game compare"
    assert loopkit("new", "game", "compare", cwd=tmp_path).stdout == expected


# Six runs: .ci/run checks the game of the page and runs the packaging page.
@pytest.mark.slow
@pytest.mark.nightly
def test_the_first_page_is_what_happens(tmp_path: Path) -> None:
    done = follow(PAGE, tmp_path, {"loopkit run": same_experiment("base", "loophole", "control", "placebo")})
    assert done == [
        "loopkit check my_game.py:Compare",
        "loopkit run --game my_game.py:Compare --out first",
    ]


@pytest.mark.slow
def test_the_packaging_page_is_what_happens(tmp_path: Path) -> None:
    done = follow(PACKAGING, tmp_path, {}, made={"pyproject.toml", "loopkit_compare.py"})
    assert done == [
        "loopkit new game compare",
        "pip install -e './loopkit-compare[test]'",
        "pytest loopkit-compare",
        "loopkit list games compare",
    ]
