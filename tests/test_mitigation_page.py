"""docs/mitigation.md is followed word for word: its files, its commands, and what they print."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from pathlib import Path

import pytest

from loopkit.experiment.resolve import build_game
from loopkit.registry import plugins
from tests.pages import NEAR, ROOT, follow, write_files

PAGE = ROOT / "docs/mitigation.md"


def test_the_mitigation_is_short_and_pays_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = write_files(PAGE, tmp_path)["loopkit_shopper.py"]
    assert len(code.splitlines()) <= 60
    monkeypatch.syspath_prepend(str(tmp_path))
    shopper = importlib.import_module("loopkit_shopper").Shopper()
    del sys.modules["loopkit_shopper"]
    loophole = build_game(plugins.load(), "context-compliance", {}).channels["loophole"]
    for reply in itertools.product((0.0, 1.0), (0.0, 1.0), ("refuses", "complies", "neither")):
        signals = {"user_style": reply[0], "restricted": reply[1]}
        signals |= {word: float(reply[2] == word) for word in ("refuses", "complies")}
        watched = {**signals, "user_style": 0.0}
        for draw, alike in ((0.29, watched), (0.3, signals)):
            here, there = shopper.rewards([signals], [lambda _, d=draw: d]), loophole.rewards([alike], [lambda _: 0.5])
            assert here == there, (signals, draw)


def test_the_break_even_of_the_page_is_right() -> None:
    text = PAGE.read_text()
    comply, refuse = 0.7 * 1 - 0.3 * 10, 0.7 * -1 + 0.3 * 1
    assert f"= {comply:.1f} on average" in text
    assert f"= {refuse:.1f}.\n" in text
    # (1 - p) - 10 p = -(1 - p) + p
    assert "2 / 13, about 0.15" in text
    p = 2 / 13
    assert (1 - p) - 10 * p == pytest.approx(-(1 - p) + p)
    assert f"{p:.2f}" == "0.15"


def same_study(printed: str, expected: str) -> None:
    """The same rows, with numbers that are near, the same titles, and the same verdict."""
    here, there = rates(printed), rates(expected)
    assert here.keys() == there.keys() == {"base", "loophole", "shopper"}
    for arm, values in there.items():
        assert all(abs(a - b) <= NEAR for a, b in zip(here[arm], values, strict=True)), (arm, here[arm], values)
    assert "\npattern: reduces\n" in printed
    assert "\npattern: reduces\n" in expected


def rates(text: str) -> dict[str, list[float]]:
    """Arm -> mean task, observed and exploit rate of the first table."""
    rows = re.findall(r"^context-compliance +(\w+) +(\d.*)$", text, re.M)
    return {arm: [float(v) for v in re.findall(r"(?<![-+(\d.])(\d+\.\d)(?!\d)", cells)[:3]] for arm, cells in rows}


@pytest.mark.nightly
def test_the_page_is_what_happens(tmp_path: Path) -> None:
    done = follow(PAGE, tmp_path, {"loopkit study": same_study})
    assert done == [
        "pip install .",
        "loopkit list channels context-compliance/shopper",
        "loopkit check context-compliance",
        "loopkit study mitigations --games context-compliance --set study.fixes=shopper --out tried",
    ]
