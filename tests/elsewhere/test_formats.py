from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopkit.elsewhere.formats import Log, read
from loopkit.errors import UsageError
from loopkit.records import Message

CHAT = [{"role": "user", "content": "1 + 1?"}]


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    return path


def one(path: Path, *rows: Any, **options: Any) -> Log:
    return read([lines(path / "log.jsonl", *rows)], **options)


def test_trl_rows_in_parquet(tmp_path: Path) -> None:
    """The columns TRL 1.16 writes: messages where the data set has them, a column for each reward function."""
    table = {
        "step": [1, 2], "prompt": [CHAT, CHAT], "completion": [[{"role": "assistant", "content": c}] for c in "23"],
        "is_right": [1.0, float("nan")], "advantage": [0.5, -0.5],
    }  # fmt: skip
    pq.write_table(pa.table(table), tmp_path / "completions_00001.parquet")
    log = read([tmp_path])
    assert log.formats == ("trl",)
    assert [r.said for r in log.rows] == [("2",), ("3",)]
    assert [r.step for r in log.rows] == [1, 2]
    assert log.rows[0].prompt == (Message("user", "1 + 1?"),)
    assert [dict(r.numbers) for r in log.rows] == [{"is_right": 1.0}, {"is_right": None}]
    assert log.rows[1].where.endswith("completions_00001.parquet, row 1")


def test_openrlhf_query_holds_prompt_and_reply(tmp_path: Path) -> None:
    """What its reward functions are given: the query is the prompt and the reply, with the template's marks."""
    row = {"query": "<|user|>\nq\n<|assistant|>\nthe reply<|im_end|>", "prompt": "<|user|>\nq\n<|assistant|>\n"}
    other = {"query": "something else", "prompt": "q", "label": "7", "reward": 1}
    log = one(tmp_path, row | {"label": "7", "reward": 0.5}, other)
    assert log.formats == ("openrlhf",)
    (kept,) = log.rows
    assert (kept.said, kept.references, dict(kept.numbers)) == (("the reply",), ("7",), {"reward": 0.5})
    assert "does not begin with prompt" in log.skipped[0].why


def test_openrlhf_batch_of_a_reward_server(tmp_path: Path) -> None:
    log = one(tmp_path, {"query": ["ab", "cd"], "prompts": ["a", "c"], "labels": ["x", "y"], "rewards": [0.0, 1.0]})
    assert [(r.said, r.references, r.numbers["rewards"]) for r in log.rows] == [
        (("b",), ("x",), 0.0), (("d",), ("y",), 1.0)
    ]  # fmt: skip


def test_openrlhf_batch_inference_and_table_of_samples(tmp_path: Path) -> None:
    log = one(tmp_path, {"input": "q", "output": "a", "reward": 2})
    assert (log.formats, log.rows[0].prompt, log.rows[0].said) == (("openrlhf",), (Message("user", "q"),), ("a",))
    table = {"columns": ["global_step", "text", "reward"], "data": [[3, "q a", 0.5], [4, "short"]]}
    (tmp_path / "samples.table.json").write_text(json.dumps(table))
    log = read([tmp_path / "samples.table.json"])
    assert (log.rows[0].step, log.rows[0].said, log.rows[0].prompt) == (3, ("q a",), None)
    assert "as many values" in log.skipped[0].why


def test_verifiers_version_0(tmp_path: Path) -> None:
    said = [{"role": "assistant", "content": "2"}, {"role": "user", "content": "sure?"},
            {"role": "assistant", "content": None}]  # fmt: skip
    log = one(tmp_path, {"example_id": 4, "prompt": CHAT, "completion": said, "answer": "2", "reward": 1.0})
    assert log.formats == ("verifiers",)
    assert (log.rows[0].said, log.rows[0].between, log.rows[0].references) == (("2", ""), ("sure?",), ("2",))
    assert dict(log.rows[0].numbers) == {"reward": 1.0}


def test_verifiers_traces_follow_the_last_branch_and_no_loop(tmp_path: Path) -> None:
    def node(role: str, text: str, parent: int | None) -> dict[str, Any]:
        message = {"role": role, "content": text}
        return {"parent": parent, "message": message, "sampled": role == "assistant"}

    nodes = [node("user", "q", None), node("assistant", "first", 0), node("assistant", "second", 0)]
    trace = {"task": {"data": {"answer": "7"}}, "nodes": nodes, "metrics": {"turns": 2, "none": None},
             "rewards": {"a": {"score": 0.5, "weight": 2.0}, "b": {"score": 1.0}, "late": None}}  # fmt: skip
    run = {"type": "train", "id": "r", "work": {"type": "train", "step": 9}}
    loop = trace | {"nodes": [node("user", "q", 1), node("assistant", "a", 0)]}
    log = one(tmp_path, {"traces": [trace], "run": run}, {"traces": [loop]}, {"traces": [trace | {"nodes": []}]})
    assert log.rows[0].said == ("second",)
    assert (log.rows[0].step, log.rows[0].references) == (9, ("7",))
    found = {"reward": 2.0, "rewards.a": 0.5, "rewards.b": 1.0, "metrics.turns": 2.0, "metrics.none": None}
    assert dict(log.rows[0].numbers) == found
    assert "no reply of a model" in log.skipped[-1].why


def test_inspect_log_written_as_json(tmp_path: Path) -> None:
    sample = {
        "id": "s1", "epoch": 1, "input": "q", "target": "7",
        "messages": [{"role": "system", "content": "be brief"},
                     {"role": "user", "content": [{"type": "text", "text": "q"}]},
                     {"role": "assistant", "content": "7"}],
        "scores": {"match": {"value": "C"}, "parts": {"value": {"a": 0.5, "b": None}}},
    }  # fmt: skip
    (tmp_path / "log.json").write_text(json.dumps({"eval": {}, "samples": [sample, sample | {"messages": []}]}))
    log = read([tmp_path / "log.json"])
    assert log.formats == ("inspect",)
    assert log.rows[0].prompt == (Message("system", "be brief"), Message("user", "q"))
    assert dict(log.rows[0].numbers) == {"match": 1.0, "parts.a": 0.5, "parts.b": None}
    assert len(log.skipped) == 1


def test_columns_are_mapped_by_name(tmp_path: Path) -> None:
    row = {"said": "a", "asked": "q", "when": 3, "grade": True, "text": "other"}
    log = one(tmp_path, row, columns={"completion": "said", "prompt": "asked", "step": "when"})
    assert (log.rows[0].said, log.rows[0].prompt, log.rows[0].step) == (("a",), (Message("user", "q"),), 3)
    assert dict(log.rows[0].numbers) == {"grade": 1.0}


def test_a_format_that_is_named_overrides_what_the_columns_say(tmp_path: Path) -> None:
    row = {"id": 1, "epoch": 1, "messages": [], "scores": {}, "output": "a"}
    assert one(tmp_path, row, format="rows").rows[0].said == ("a",)
    with pytest.raises(UsageError, match="no completion that can be read"):
        one(tmp_path, row)


def test_unknown_columns_are_told_with_what_is_needed_and_how_to_map(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"It has: mine, other\. Needed is a column of completions.*--column") as error:
        one(tmp_path, {"mine": "a", "other": 1})
    assert "--format trl|openrlhf" in str(error.value)
    with pytest.raises(UsageError, match="has no column 'x' for completion"):
        one(tmp_path, {"mine": "a"}, columns={"completion": "x"})
    with pytest.raises(UsageError, match="Did you mean 'completion'"):
        one(tmp_path, {"mine": "a"}, columns={"completions": "mine"})


def test_broken_rows_are_named_with_their_lines_and_lose_no_other(tmp_path: Path) -> None:
    good = {"prompt": "q", "completion": "a"}
    bad = ['{"prompt": \n', "[1]\n", "\n", {"prompt": "q", "completion": 5}, {"prompt": 7, "completion": "a"},
           {"prompt": "q"}, {"prompt": "q", "completion": [{"role": "user", "content": "x"}]},
           "[" * 100_000 + "\n", {"prompt": "q", "completion": [{"role": "assistant", "content": 3}]}]  # fmt: skip
    log = one(tmp_path, good, *bad, good)
    assert len(log.rows) == 2
    assert [int(s.where.rpartition("line ")[2]) for s in log.skipped] == [2, 3, 5, 6, 7, 8, 9, 10]
    assert log.skipped[2].why == "completion is a number, neither text nor messages"


def test_bytes_that_are_no_text_spoil_their_line_only(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"completion": "a"}\n{"completion": "\xff"}\n{"completion": "b\xe2\x80\xa8c"}\n')
    log = read([path])
    assert [r.said[0] for r in log.rows] == ["a", "b\u2028c"]
    assert [s.where.rpartition("line ")[2] for s in log.skipped] == ["2"]


def test_long_lines_lone_surrogates_and_odd_numbers(tmp_path: Path) -> None:
    row = {"completion": "x" * 100_000, "reward": 10**400, "other": float("inf"), "step": 1e400}
    log = one(tmp_path, row, '{"completion": "\\ud800", "reward": NaN}\n')
    assert len(log.rows[0].said[0]) == 100_000
    assert log.rows[0].numbers == {"reward": None, "other": None}
    assert log.rows[0].step is None
    assert log.rows[1].said == ("\ufffd",)


def test_the_first_row_need_not_have_the_columns(tmp_path: Path) -> None:
    log = one(tmp_path, {"note": "header"}, {"completion": "a"})
    assert (len(log.rows), len(log.skipped)) == (1, 1)


def test_paths_that_hold_no_logs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no"):
        read([tmp_path])
    with pytest.raises(UsageError, match="does not exist"):
        read([tmp_path / "none.jsonl"])
    for name, content, told in (
        ("a.parquet", b"PAR1", "cannot be read as Parquet"), ("a.csv", b"", "logs are read from"),
        ("a.jsonl", b"{}\n", "no column of completions"), ("b.jsonl", b"", "no completion that can be read"),
        ("c.jsonl", b"oops\n", "line 1: not JSON"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=told):
            read([tmp_path / name])


def test_a_json_file_may_hold_lines_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"completion": "a"}\n{"completion": "b"}\n')
    (tmp_path / "b.json").write_text('[{"completion": "c"}]')
    assert [r.said[0] for r in read([tmp_path]).rows] == ["a", "b", "c"]
