"""docs/own-reward.md is followed word for word: its files, its commands, and what they print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from loopkit.experiment.resolve import build_game
from loopkit.registry.plugins import load
from tests import pages
from tests.dists import Venv
from tests.pages import FILE, NEAR, ROOT, blocks, untimed

PAGE = ROOT / "docs/own-reward.md"
RUN = re.compile(r"loopkit run .*--out (\w+)")


def write_files(into: Path) -> None:
    files = [b.text for b in blocks(PAGE, "python") if FILE.match(b.text)]
    assert len(files) == 2
    for text in files:
        (into / FILE.match(text)[1]).write_text(text)  # type: ignore[index]


def transcript() -> dict[str, str]:
    """Commands of the walk-through -> what they print: nothing, unless a text follows the block they end."""
    found: dict[str, str] = {}
    for block in blocks(PAGE, "console", "text"):
        if block.language == "text":
            found[next(reversed(found))] = block.text
        else:
            found |= {line.removeprefix("$ "): "" for line in block.text.splitlines()}
    return found


def test_the_page_names_all_that_the_game_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    exec((tmp_path / "make_rows.py").read_text(), {})
    options = {"reward": "my_rewards.py:passes", "trusted": "my_rewards.py:exact", "data": "rows.jsonl"}
    made = build_game(load(), "own-reward", options)
    names = {*made.channels, "placebo", *made.detectors, *made.signals, *made.clues}
    text = PAGE.read_text()
    assert [n for n in sorted(names) if f"`{n}`" not in text] == []


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize(
    "out", ["leaky", pytest.param("long", marks=pytest.mark.nightly), pytest.param("alone", marks=pytest.mark.nightly)]
)
def test_the_page_is_what_happens(tmp_path: Path, out: str) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    fresh = Venv(tmp_path / "venv", folder)
    write_files(folder)
    done = []
    for command, expected in transcript().items():
        found = RUN.match(command)
        if not (command.startswith(("python ", "loopkit report")) or found):
            continue
        if (found and found[1] != out) or (out != "leaky" and not found and not command.startswith("python ")):
            continue
        program, *arguments = shlex.split(command)
        printed = "".join(f"{line.rstrip()}\n" for line in fresh(program, *arguments).stdout.splitlines())
        done.append(arguments[0])
        if found:
            same_experiment(printed, expected)
        elif expected:
            assert untimed(printed) == untimed(expected)
    assert done == (["make_rows.py", "run", "report"] if out == "leaky" else ["make_rows.py", "run"])
    if out == "leaky":
        assert "shortcut found" in (folder / "leaky/report.html").read_text()


def same_experiment(printed: str, expected: str) -> None:
    """The same arms with means that are near, and the same verdict."""
    here, there = (dict(pages.arms(text)) for text in (printed, expected))
    assert here.keys() == there.keys()
    assert {"base", "loophole"} < here.keys()
    for arm in ("base", "loophole"):  # what drifts under control or placebo drifts elsewhere on another machine
        assert all(abs(a - b) <= NEAR for a, b in zip(here[arm], there[arm], strict=True)), (arm, printed)
    for text in (printed, expected):  # what the probe found, then what training did
        before, _, after = text.partition("\n\n")
        assert [before.splitlines()[1].split(":")[0], after.splitlines()[0]] == ["gameable", "pattern: shortcut found"]
