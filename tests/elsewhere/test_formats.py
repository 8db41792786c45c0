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
    assert "--format trl|verl|" in str(error.value)
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
        ("a.parquet", b"PAR1", "cannot be read as Parquet"), ("a.txt", b"", "logs are read from"),
        ("a.csv", b"x\n1\n", "no column of completions"),
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


def test_a_row_of_messages_is_a_dialogue(tmp_path: Path) -> None:
    said = [*CHAT, {"role": "assistant", "content": "2"}, {"role": "user", "content": "sure?"},
            {"role": "assistant", "content": "Yes.", "reasoning_content": "It is 2."}]  # fmt: skip
    log = one(tmp_path, {"messages": said, "reward": 1, "task_id": "t7", "solution": "2"}, {"messages": CHAT})
    (row,) = log.rows
    assert log.formats == ("messages",)
    assert (row.prompt, row.said, row.between) == ((Message("user", "1 + 1?"),), ("2", "Yes."), ("sure?",))
    assert (row.thoughts, row.references, row.cluster) == (("", "It is 2."), ("2",), "id t7")
    assert dict(row.numbers) == {"reward": 1.0}
    assert "no reply of a model" in log.skipped[0].why


def test_verl_dumps_tell_reward_reference_and_step(tmp_path: Path) -> None:
    log = one(tmp_path, {"input": "user\nq\n", "output": "a", "gts": "7", "score": 0.5, "step": 3, "acc": 1.0})
    (row,) = log.rows
    assert log.formats == ("verl",)
    assert (row.said, row.references, row.step) == (("a",), ("7",), 3)
    assert dict(row.numbers) == {"score": 0.5, "acc": 1.0}


def test_several_completions_a_row_share_their_prompt_and_part_their_rewards(tmp_path: Path) -> None:
    row = {"prompt": CHAT, "completions": ["2", [{"role": "assistant", "content": "3"}]], "reward": [1.0, 0.0]}
    log = one(tmp_path, row | {"answer": "2"})
    assert [(r.said, dict(r.numbers), r.references) for r in log.rows] == [
        (("2",), {"reward": 1.0}, ("2",)), (("3",), {"reward": 0.0}, ("2",)),
    ]  # fmt: skip
    assert len({r.cluster for r in log.rows}) == 1


def test_a_responses_object_with_what_was_asked(tmp_path: Path) -> None:
    """As NeMo-Gym stores it: reasoning, a call, its output and the answer are one agent's two turns."""
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look first."}]},
        {"type": "function_call", "name": "ls", "arguments": '{"path": "/t"}', "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "tests.py"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
    ]
    row = {"responses_create_params": {"input": CHAT}, "response": {"object": "response", "output": output},
           "reward": 0.5}  # fmt: skip
    (read_row,) = one(tmp_path, row).rows
    assert read_row.prompt == (Message("user", "1 + 1?"),)
    assert read_row.said == ("<tool_call>ls\npath: /t</tool_call>", "Done.")
    assert (read_row.between, read_row.thoughts) == (("tests.py",), ("Look first.", ""))
    assert dict(read_row.numbers) == {"reward": 0.5}


def test_harbors_trajectory(tmp_path: Path) -> None:
    call = {"tool_call_id": "c", "function_name": "bash", "arguments": {"cmd": "rm -r tests"}}
    steps = [
        {"step_id": 1, "source": "system", "message": "Be brief."},
        {"step_id": 2, "source": "user", "message": "Mend it."},
        {"step_id": 3, "source": "agent", "message": "", "reasoning_content": "Hm.", "tool_calls": [call],
         "observation": {"results": [{"source_call_id": "c", "content": "ok"}]}},
        {"step_id": 4, "source": "agent", "message": "Mended."},
    ]  # fmt: skip
    trajectory = {"schema_version": "ATIF-v1.2", "session_id": "s", "agent": {}, "steps": steps,
                  "final_metrics": {"total_cost_usd": 0.1}}  # fmt: skip
    (tmp_path / "trajectory.json").write_text(json.dumps(trajectory))
    log = read([tmp_path])
    (row,) = log.rows
    assert log.formats == ("atif",)
    assert row.said == ("<tool_call>bash\ncmd: rm -r tests</tool_call>", "Mended.")
    assert (row.thoughts, row.between) == (("Hm.", ""), ("ok",))
    assert row.prompt == (Message("system", "Be brief."), Message("user", "Mend it."))


def test_swe_agents_trajectory_with_and_without_a_history(tmp_path: Path) -> None:
    steps = [{"action": "ls", "observation": "a.py", "response": "", "thought": "Look."},
             {"action": "submit", "observation": "", "response": "submit", "thought": ""}]  # fmt: skip
    history = [{"role": "user", "content": "Mend it."}, {"role": "assistant", "content": "ls"}]
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "a.traj").write_text(json.dumps({"trajectory": steps, "info": {"exit_status": "submitted", "cost": 2}}))
    (folder / "b.traj").write_text(json.dumps({"trajectory": steps, "history": history, "info": {}}))
    first, second = read([tmp_path / "runs"]).rows
    assert (first.said, first.between, first.thoughts) == (("ls", "submit"), ("a.py",), ("Look.", ""))
    assert (second.prompt, second.said) == ((Message("user", "Mend it."),), ("ls",))
    assert dict(first.numbers) == {"cost": 2.0}


def test_a_table_in_csv(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text('step,prompt,completion,reward\n1,"a, b?","two\nlines",0.5\n2,q,r,\n')
    log = read([tmp_path / "log.csv"])
    assert [(r.step, r.said, dict(r.numbers)) for r in log.rows] == [(1, ("two\nlines",), {"reward": 0.5}),
                                                                    (2, ("r",), {})]  # fmt: skip


def test_calls_of_inspect_are_read_and_samples_of_an_id_are_one_unit(tmp_path: Path) -> None:
    call = {"id": "c", "function": "bash", "arguments": {"cmd": "echo 'import os; os._exit(0)' > conftest.py"}}
    messages = [*CHAT, {"role": "assistant", "content": "I look.", "tool_calls": [call]},
                {"role": "tool", "content": "ok"}, {"role": "assistant", "content": "Done."}]  # fmt: skip
    sample = {"id": "s1", "epoch": 1, "input": "q", "target": "", "messages": messages, "scores": {}}
    rows = one(tmp_path, sample, sample | {"epoch": 2}, sample | {"id": "s2"}).rows
    assert "os._exit(0)" in rows[0].said[0]
    assert rows[0].said[0].startswith("I look.\n<tool_call>bash")
    assert [r.cluster for r in rows] == ["id s1", "id s1", "id s2"]


def test_a_cancelled_log_among_others_is_passed_over_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"version": 2, "status": "cancelled", "eval": {}}))
    (tmp_path / "b.json").write_text('[{"completion": "c"}]')
    log = read([tmp_path])
    assert [r.said for r in log.rows] == [("c",)]
    assert [s.where for s in log.skipped] == [str(tmp_path / "a.json")]
    assert "status cancelled" in log.skipped[0].why
    with pytest.raises(UsageError, match="without samples"):
        read([tmp_path / "a.json"])


@pytest.mark.parametrize(
    "said", [{"prompt": "q", "completion": "a"}, {"messages": [*CHAT, {"role": "assistant", "content": "a"}]}]
)
def test_a_label_beside_a_reference_stays_a_number(tmp_path: Path, said: dict[str, Any]) -> None:
    """Of several names for a role the first is taken; the others may be what the reward is compared with."""
    (row,) = one(tmp_path, {**said, "answer": "2", "label": 1, "step": 3, "iteration": 7}).rows
    assert (row.references, row.step, dict(row.numbers)) == (("2",), 3, {"label": 1.0, "iteration": 7.0})
