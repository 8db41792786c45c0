"""Nothing that is printed is wider than 100 columns, nor than a terminal of 80."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from loopkit.cli import main
from loopkit.front.tables import Table, fitted

COMMANDS = [
    ["list"], ["list", "channels"], ["list", "games", "self-grading"], ["list", "trainers", "grpo"],
    ["list", "settings"], ["doctor"], ["check", "self-grading", "-v"], ["check", "self-grading", "--detectors"],
    ["run", "--game", "context-compliance", "--dry-run"], ["study", "persistence", "--dry-run"],
    ["audit", "replies.jsonl"], ["eval", "--game", "self-grading", "--prompts", "8"],
]  # fmt: skip


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f'{{"completion": "{"word " * 60}{k}", "prompt": "p{k % 7}", "step": {k}}}\n' for k in range(40))
    (tmp_path / "replies.jsonl").write_text(rows)

    def call(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(list(arguments))
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("columns", [100, 80])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_fits(arguments: list[str], columns: int, printed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = printed(*arguments)
    assert text
    assert [line for line in text.splitlines() if len(line) > columns] == []


def test_a_table_of_many_numbers_becomes_several_with_the_same_keys() -> None:
    headers = ["arm", "seed", *(f"score {k}" for k in range(12))]
    rows = [["loophole", str(s), *["63.0 [60.7, 65.3] n=2000"] * 12] for s in range(3)]
    text = fitted(rows, headers, keys=2)
    assert max(map(len, text.splitlines())) <= 100
    assert len(re.findall(r"(?m)^arm +seed", text)) == text.count("\n\n") + 1 > 1
    assert all(f"score {k}" in text for k in range(12))
    assert text.count("63.0 [60.7, 65.3] n=2000") == 36


def test_prose_is_wrapped_and_nothing_is_lost() -> None:
    words = " ".join(f"word{k}" for k in range(80))
    text = fitted([["a", words, "12.3"], ["b", "short", "4.5"]], ["name", "what it is", "value"])
    assert max(map(len, text.splitlines())) <= 100
    assert all(f"word{k}" in text for k in range(80))
    assert "\n\n" not in text
    assert max(map(len, fitted([["x" * 300]], ["path"]).splitlines())) <= 100


def test_a_table_is_text_html_and_dicts() -> None:
    table = Table(("arm", "task"), (("<b>", "1.0"),), ({"arm": "<b>", "task": 0.01},), ("A note.",))
    assert "A note." in str(table)
    assert "&lt;b&gt;" in table._repr_html_()
    assert table.rows() == [{"arm": "<b>", "task": 0.01}]
