"""Real rows: read whole, refused with the line and the cure."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopkit.errors import UsageError
from loopkit.experiment.resolve import build_game
from loopkit.parts.data import DataOptions, messages, read_rows, split_of
from loopkit.records import Message
from tests.toys import Doubling


def test_jsonl_lines_end_at_newlines_only(tmp_path: Path) -> None:
    rows = [{"prompt": "a\u2028b\x85c\x0bd"}, {"prompt": "e"}]
    text = "\r\n".join(json.dumps(r, ensure_ascii=False).replace("\\u000b", "\\u000b") for r in rows)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n\n")
    assert read_rows(str(tmp_path / "a.jsonl"), ["prompt"]) == rows


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"prompt": [{"role": "user", "content": "hi"}], "source": "human"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read_rows(str(tmp_path / "a.parquet"), ["prompt", "source"]) == rows
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        read_rows(str(tmp_path / "b.parquet"), [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"prompt": "x"}\n{"prompt"', r"a\.jsonl, line 2 is not JSON"),
        ("a.jsonl", b"[1]", r"line 1 is not a JSON object"),
        ("a.jsonl", b"\n\n", "has no rows"),
        ("a.jsonl", b"\xff\xff", "cannot be read as UTF-8"),
        (
            "a.jsonl",
            b'{"promt": "x"}',
            r"row 0 has no column 'prompt'\. Did you mean 'promt'\? This game needs: prompt",
        ),
        ("a.jsonl", b'{"prompt": null}', "row 0 has no column 'prompt'"),
        ("a.csv", b"prompt", r"data is read from \.parquet or \.jsonl files"),
    ],
)
def test_files_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_rows(str(tmp_path / name), ["prompt"])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("How are you?", [("user", "How are you?")]),
        ("42", [("user", "42")]),
        ('{"a": 1}', [("user", '{"a": 1}')]),
        ("[1, 2]", [("user", "[1, 2]")]),
        ('[{"role": "system", "content": "s"}]', [("system", "s")]),
        ([{"role": "user", "content": "u"}], [("user", "u")]),
    ],
)
def test_prompts(prompt: Any, expected: list[tuple[str, str]]) -> None:
    assert messages({"prompt": prompt}, "row") == tuple(Message(*m) for m in expected)


@pytest.mark.parametrize("prompt", ["[]", [], 3, [{"role": "user"}], ["x"], '[{"content": "x"}]'])
def test_prompts_refused(prompt: Any) -> None:
    with pytest.raises(UsageError, match=r"row 7: prompt is (empty|not a list)"):
        messages({"prompt": prompt}, "row 7")


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("{}")
    first = DataOptions(data=str(file))
    assert DataOptions.model_validate(first.model_dump()) == first
    file.write_text("{} ")
    with pytest.raises(ValueError, match="has changed since this run began"):
        DataOptions.model_validate(first.model_dump())
    assert DataOptions(data=str(file)).data_sha256 != first.data_sha256
    assert DataOptions().data_sha256 == ""


def test_splits_are_about_60_20_20() -> None:
    found = [split_of("x", i) for i in range(4000)]
    shares = [found.count(s) / 4000 for s in ("train", "dev", "test")]  # type: ignore[arg-type]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.03)


def test_a_game_of_its_own_tasks_alone_takes_no_data() -> None:
    plugins: Any = SimpleNamespace(game=lambda name: Doubling, get=lambda kind, name: SimpleNamespace(preset={}))
    with pytest.raises(UsageError, match="game doubling takes no --data: its tasks are its own"):
        build_game(plugins, "doubling", {"data": "rows.jsonl"})
