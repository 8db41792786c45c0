"""Rows that hold whole dialogues -> logged dialogues: messages, Inspect, verifiers, Responses objects, agents' files.

Each parser gets (where, row) and gives the dialogues in it. A model's turn is its text with its tool calls below, as
``call_text`` writes them; what tools and users answer stands between turns; reasoning is kept apart as thoughts.
Sources: OpenAI's Responses objects as NeMo-Gym stores them (``responses_create_params``, ``response``); Harbor's Agent
Trajectory Interchange Format (``schema_version`` "ATIF-v1.…"); SWE-agent's ``.traj``; Inspect's sample; verifiers'
``traces.jsonl``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loopkit.elsewhere.parts import (
    Logged,
    Spoken,
    Turns,
    Unusable,
    call_text,
    ground_truth,
    logged,
    number_of,
    numeric,
    opening_and_turns,
    prompt_of,
    reads_as_number,
    references_of,
    spoken,
    text_of,
)
from loopkit.records import Json, Message

GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Inspect's letters: correct, incorrect, partial, no answer."""


def messages(where: str, row: Mapping[str, Json]) -> Iterator[Logged]:
    """``{"messages": [...]}``: what stands before the first reply of the model is the prompt."""
    prompt, turns = opening_and_turns([spoken(m) for m in row["messages"]])
    yield logged(
        where, prompt, turns, step=_step(row), references=references_of(_reference(row)),
        numbers=_numbers(row, {"messages"}), unit=unit_of(row),
    )  # fmt: skip


def inspect(where: str, row: Mapping[str, Json]) -> Iterator[Logged]:
    """A sample: the dialogue after its input. Samples of one id (epochs) are one unit."""
    given = row.get("messages") or []
    first = next((k for k, m in enumerate(given) if m["role"] == "assistant" and m.get("source") != "input"), None)
    if first is None:
        raise Unusable("the sample holds no reply of a model")
    prompt, turns = opening_and_turns([spoken(m) for m in given], first)
    numbers: dict[str, float | None] = {}
    for scorer, score in (row.get("scores") or {}).items():
        value = score.get("value")
        if isinstance(value, dict):
            numbers |= {f"{scorer}.{n}": number_of(v) for n, v in value.items()}
        else:
            numbers[scorer] = GRADES.get(value) if isinstance(value, str) else number_of(value)
    yield logged(
        where, prompt or prompt_of(row.get("input")), turns, references=references_of(row.get("target")),
        numbers=numbers, unit=None if row.get("id") is None else str(row["id"]),
    )  # fmt: skip


def verifiers(where: str, row: Mapping[str, Json]) -> Iterator[Logged]:
    """Traces of version 0.4; one row may hold several."""
    if not isinstance(row.get("traces"), list):
        yield from _trace(where, row)
        return
    step = ((row.get("run") or {}).get("work") or {}).get("step")
    for k, trace in enumerate(row["traces"]):
        for one in _trace(f"{where}, trace {k}", trace):
            yield replace(one, step=step)


def _trace(where: str, trace: Mapping[str, Json]) -> Iterator[Logged]:
    nodes, path = trace["nodes"], list[Any]()
    at = len(nodes) - 1 if nodes else None
    while at is not None and len(path) <= len(nodes):  # a file may hold a loop
        path.append(nodes[at])
        at = nodes[at].get("parent")
    along = list(reversed(path))
    first = next((k for k, n in enumerate(along) if n.get("sampled")), None)
    if first is None:
        raise Unusable("the trace holds no reply of a model")
    said = [replace(spoken(n["message"]), of_model=bool(n.get("sampled"))) for n in along]
    prompt, turns = opening_and_turns(said, first)
    data = trace["task"]["data"]
    rewards = {n: r for n, r in (trace.get("rewards") or {}).items() if isinstance(r, dict)}
    numbers: dict[str, float | None] = {}
    if rewards:
        numbers["reward"] = number_of(sum(float(r["score"]) * float(r.get("weight", 1.0)) for r in rewards.values()))
    numbers |= {f"rewards.{n}": number_of(r["score"]) for n, r in rewards.items()}
    numbers |= {f"metrics.{n}": number_of(v) for n, v in (trace.get("metrics") or {}).items()}
    yield logged(where, prompt, turns, references=references_of(data.get("answer")), numbers=numbers,
                 unit=unit_of(data))  # fmt: skip


def responses(where: str, row: Mapping[str, Json]) -> Iterator[Logged]:
    """A Responses object, alone or as NeMo-Gym stores it beside what was asked and the reward."""
    answer = row.get("response") if isinstance(row.get("response"), dict) else row
    asked = (row.get("responses_create_params") or {}).get("input", row.get("input"))
    assert isinstance(answer, dict)
    before = [Spoken("user", asked)] if isinstance(asked, str) else list(_items(asked or []))
    turns_said = list(_items(answer.get("output") or []))
    prompt, turns = opening_and_turns([*before, *turns_said], len(before))
    yield logged(
        where, prompt, turns, step=_step(row), references=references_of(_reference(row)),
        numbers=_numbers(row, {"response", "responses_create_params", "output", "input"}), unit=unit_of(row),
    )  # fmt: skip


def _items(items: Sequence[Json]) -> Iterator[Spoken]:
    """The items of a Responses list. Reasoning and calls belong to the model's turn that they stand in."""
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            yield spoken(item)
        elif kind == "reasoning":
            parts = [p.get("text", "") for p in [*(item.get("summary") or []), *(item.get("content") or [])]]
            yield Spoken("assistant", "", "\n".join(map(text_of, parts)))
        elif kind.endswith("_output"):
            yield Spoken("tool", text_of(item.get("output")))
        elif kind.endswith("_call"):
            yield Spoken("assistant", call_text(item))


def atif(where: str, row: Mapping[str, Json]) -> Iterator[Logged]:
    """A Harbor trajectory: steps of system, user and agent; an agent's step holds its calls and what they gave."""
    said: list[Spoken] = []
    for step in row["steps"]:
        of_model = step.get("source") == "agent"
        text = text_of(step.get("message"))
        calls = [call_text(c) for c in step.get("tool_calls") or []]
        role = "assistant" if of_model else str(step.get("source", "user"))
        said.append(
            Spoken(role, "\n".join([*([text] if text else []), *calls]), text_of(step.get("reasoning_content")))
        )
        for result in (step.get("observation") or {}).get("results") or []:
            said.append(Spoken("tool", text_of(result.get("content"))))
    prompt, turns = opening_and_turns(said)
    metrics = row.get("final_metrics") or {}
    yield logged(
        where, prompt, turns, numbers={n: number_of(v) for n, v in metrics.items() if numeric(v)}, unit=unit_of(row)
    )


def trajectory(where: str, row: Mapping[str, Json]) -> Iterator[Logged]:
    """A ``.traj`` of SWE-agent: its history where there is one, else thought and action of each step."""
    if isinstance(row.get("history"), list) and row["history"]:
        said = [spoken(m) for m in row["history"]]
    else:
        said = []
        for step in row["trajectory"]:
            text = text_of(step.get("response") or step.get("action"))
            said += [Spoken("assistant", text, text_of(step.get("thought"))),
                     Spoken("tool", text_of(step.get("observation")))]  # fmt: skip
    prompt, turns = opening_and_turns(said)
    info = row.get("info") if isinstance(row.get("info"), dict) else {}
    yield logged(where, prompt, turns, numbers=_numbers(info or {}, set()), unit=unit_of(row))


def recorded(where: str, row: Mapping[str, Json]) -> Iterator[Logged]:
    """A rollout as loopkit records it, with its scores; its prompt where that is kept, in runs made elsewhere."""
    replies = [json.loads(reply) for reply in row["replies"]]
    turns = Turns(
        tuple(row["said"]), tuple(str(r["content"]) for r in replies[:-1]),
        tuple(row.get("thoughts") or [""] * len(replies)),
    )  # fmt: skip
    prompt = tuple(Message(role, text) for role, text in json.loads(row["asked"])) if row.get("asked") else None
    references = json.loads(row["clue.reference"]) if row.get("clue.reference") else None
    numbers = {n.removeprefix("reward."): v for n, v in row.items() if n.startswith("reward.")}
    numbers |= {n: v for n, v in row.items() if n.startswith("score.") and v is not None}
    yield logged(
        where, prompt, turns, step=int(row["slot"].split("/")[1]), references=references_of(references),
        numbers={"reward" if n == "paid" else f"reward.{n}" if "." not in n else n: v for n, v in numbers.items()},
        unit=row.get("cluster") or row["task"],
    )  # fmt: skip


# --- what the rows of several formats have beside the dialogue -----------------------------------------------------

UNITS = ("task_id", "sample_id", "example_id", "problem_id", "instance_id", "question_id")
"""Columns that name the problem; samples of one problem are one unit of the intervals."""
REFERENCES = (
    "reference",
    "references",
    "answer",
    "solution",
    "ground_truth",
    "target",
    "label",
    "labels",
    "gold",
    "gts",
)
STEPS = ("step", "global_step", "train_step", "iteration")
NO_NUMBERS = {
    "advantage", "advantages", "id", "idx", "index", "epoch", "row", "seed", "rollout", *UNITS,
}  # fmt: skip
"""Columns of numbers that are no rewards."""


def unit_of(row: Mapping[str, Json]) -> str | None:
    """The problem that a row names, if it names one."""
    return next((str(row[n]) for n in UNITS if isinstance(row.get(n), (str, int))), None)


def step_of(value: Json) -> int | None:
    found = number_of(value)
    return None if found is None else int(found)


def _column(row: Mapping[str, Json], names: Sequence[str]) -> str:
    """The first of the names that the row has; "" for none."""
    return next((n for n in names if n in row), "")


def _step(row: Mapping[str, Json]) -> int | None:
    return step_of(row.get(_column(row, STEPS)))


def _reference(row: Mapping[str, Json]) -> Json:
    return row.get(_column(row, REFERENCES), ground_truth(row))


def _numbers(row: Mapping[str, Json], taken: set[str]) -> dict[str, float | None]:
    """The columns of numbers, and those of a column ``metrics`` or ``rewards`` that is an object or its JSON.

    The columns that are step and reference are none of them, as in a table.
    """
    taken = {*taken, _column(row, STEPS), _column(row, REFERENCES)}
    out: dict[str, float | None] = {}
    for name, value in row.items():
        if name in taken or name in NO_NUMBERS:
            continue
        if isinstance(value, str) and name in ("metrics", "rewards") and value.startswith("{"):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                continue
        if isinstance(value, dict) and name in ("metrics", "rewards"):
            out |= {f"{name}.{n}": number_of(v) for n, v in value.items() if numeric(v)}
        elif numeric(value) or reads_as_number(value):
            out[name] = number_of(value)
    return out
