"""loopkit against the paper's own reward functions, value by value. About 6 CPU seconds; the real rows 60 more."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from tools.paper import kinds, ours, page, rows, verdicts
from tools.paper.__main__ import KEPT, MADE, faults_of, sets

NUMBERS = json.loads(KEPT.read_text(encoding="utf-8"))
GAMES = list(rows.MADE)
DATA = os.environ.get("LOOPKIT_DATA")


def test_the_page_is_as_the_kept_numbers_say() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(NUMBERS)
    assert all(len(kinds.KINDS[game]) >= 25 for game in GAMES)
    assert all(sum("thought" in kind for kind in kinds.KINDS[game]) >= 5 for game in GAMES)


@pytest.mark.parametrize("game", GAMES)
def test_made_rows_give_the_papers_numbers_but_for_what_is_listed(game: str) -> None:
    ((name, some),) = sets(game, None)
    assert name == MADE
    assert faults_of(game, name, NUMBERS, some) == []


@pytest.mark.slow
@pytest.mark.parametrize("game", GAMES)
def test_real_rows_give_the_papers_numbers_but_for_what_is_listed(game: str) -> None:
    file = Path(DATA or ".") / rows.FILES[game]
    if not DATA or not file.is_file():
        pytest.skip(f"real rows: LOOPKIT_DATA has no {rows.FILES[game]}")
    name, some = list(sets(game, Path(DATA)))[1]
    if hashlib.sha256(file.read_bytes()).hexdigest() != NUMBERS["games"][game][name]["sha256"]:
        pytest.skip(f"{file.name} is not the file that was measured")
    assert faults_of(game, name, NUMBERS, some) == []


@pytest.mark.parametrize("game", GAMES)
def test_every_verdict_is_about_something(game: str) -> None:
    """A reason that no kind needs any more is to be taken away."""
    differ = {
        (kind, measure)
        for one in NUMBERS["games"][game].values()
        for kind, measures in one["equal"].items()
        for measure, (equal, _) in measures.items()
        if equal < one["rows"]
    }
    for verdict in verdicts.VERDICTS[game]:
        assert any(verdicts.of(game, kind, measure) is verdict for kind, measure in differ), verdict.why


def test_a_report_is_heard_as_the_page_says() -> None:
    assert [mine for _, _, mine in NUMBERS["reports"]] == ours.claims([said for said, *_ in NUMBERS["reports"]])
