"""Raw rows -> logged dialogues. Formats are told by their columns; which one fits is decided on the first rows.

- ``trl``: TRL's ``log_completions`` (step, prompt, completion, a column for each reward function, advantage).
- ``openrlhf``: what OpenRLHF passes on or keeps: query, prompt and label, as its reward functions get them; input and
  output, as its batch inference writes them; or the table of generated samples (global_step, text, reward).
- ``verifiers``: ``traces.jsonl`` (version 1), or the rows of version 0 (prompt and completion as messages, answer).
- ``inspect``: the samples of an Inspect log.
- ``rows``: anything else with a column of completions.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loopkit.elsewhere.files import Skipped, expand, rows
from loopkit.elsewhere.parts import (
    Unusable,
    ground_truth,
    kind_of,
    number_of,
    numeric,
    prompt_of,
    reads_as_number,
    references_of,
    split_turns,
    text_of,
    turns_of,
)
from loopkit.errors import UsageError, nearest
from loopkit.records import Json, Message

ROLES: Mapping[str, Sequence[str]] = {
    "prompt": ("prompt", "prompts", "input", "question", "query", "instruction", "problem"),
    "completion": ("completion", "completions", "output", "response", "generation", "text"),
    "reference": (
        "reference", "references", "answer", "solution", "ground_truth", "target", "label", "labels", "gold",
    ),
    "step": ("step", "global_step", "train_step", "iteration"),
}  # fmt: skip
"""Roles a column may have, and the names it is known by, the first that is there first."""
NO_NUMBERS = {"advantage", "advantages", "id", "idx", "index", "epoch", "example_id", "row", "seed", "rollout"}
"""Columns of numbers that are not rewards."""
CLOSING = re.compile(r"(?:\s*(?:<\|[\w/ ]{1,40}\|>|</s>))+\s*$")
"""Marks with which a chat template ends a turn, left in by decoding that skips no special tokens."""
GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Inspect's letters: correct, incorrect, partial, no answer."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One logged dialogue. ``between`` (T - 1,) is what was answered to the turns ``said`` (T,), but the last."""

    where: str
    prompt: tuple[Message, ...] | None
    said: tuple[str, ...]
    between: tuple[str, ...] = ()
    step: int | None = None
    references: tuple[str, ...] | None = None
    numbers: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def cluster(self) -> str:
        """Its prompt; a dialogue without one is a cluster of its own."""
        return self.where if self.prompt is None else json.dumps([[m.role, m.content] for m in self.prompt])


@dataclass(frozen=True)
class Log:
    """All that was read."""

    files: tuple[Path, ...]
    formats: tuple[str, ...]
    rows: tuple[Logged, ...]
    skipped: tuple[Skipped, ...]


Columns = Mapping[str, str]
"""Role -> the column that has it."""


def read(paths: Sequence[Path], format: str | None = None, columns: Columns | None = None) -> Log:
    """Read logs. ``format`` overrides what the columns say, ``columns`` (role -> column) the names they are known by.

    Raises UsageError where a file has no completions, naming what was found and how to map it.
    """
    files, skipped, out, formats = expand(paths), list[Skipped](), list[Logged](), list[str]()
    for role in columns or {}:
        if role not in ROLES:
            raise UsageError(f"--column {role}: a column is one of {', '.join(ROLES)}. {nearest(role, ROLES)}")
    for path in files:
        before = len(out)
        rows, kind = _read(path, format, dict(columns or {}), skipped)
        out += rows
        formats.append(kind)
        if len(out) == before:
            why = [s for s in skipped if s.where.startswith(f"{path}, ")]
            fault = f" The first fault: {why[0].where}: {why[0].why}." if why else ""
            raise UsageError(f"{path} ({kind}) has no completion that can be read.{fault} {_needed({})}")
    return Log(tuple(files), tuple(dict.fromkeys(formats)), tuple(out), tuple(skipped))


def _read(path: Path, format: str | None, columns: dict[str, str], skipped: list[Skipped]) -> tuple[list[Logged], str]:
    out: list[Logged] = []
    kind, parse, fault = "", None, None
    for where, raw in rows(path, skipped):
        if not isinstance(raw, dict):
            skipped.append(Skipped(where, f"{kind_of(raw)}, not an object with columns"))
            continue
        if parse is None:
            kind = format or told(raw)
            if kind in ("trl", "openrlhf", "rows"):
                try:
                    columns = mapped(raw, columns, str(path))
                except UsageError as error:  # the next row may have what this one lacks
                    fault = fault or error
                    skipped.append(Skipped(where, "it lacks a column of completions, or one that was named"))
                    continue
            parse = FORMATS[kind]
        try:
            out += parse(where, raw, columns)
        except Unusable as error:
            skipped.append(Skipped(where, str(error)))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
            skipped.append(Skipped(where, f"no row of {kind}: {type(error).__name__} {error}"[:200]))
    if parse is None and fault is not None:
        raise fault
    return out, kind or format or "empty"


def told(row: Mapping[str, Json]) -> str:
    """The format that a row's keys tell."""
    keys = row.keys()
    if isinstance(row.get("traces"), list) or {"nodes", "task"} <= keys:
        return "verifiers"
    if {"id", "epoch", "messages", "scores"} <= keys or {"id", "epoch", "input", "output", "target"} <= keys:
        return "inspect"
    if {"step", "prompt", "completion"} <= keys:
        return "trl"
    if {"global_step", "text", "reward"} <= keys or {"query", "prompt"} <= keys or {"query", "prompts"} <= keys:
        return "openrlhf"
    if {"input", "output"} <= keys and isinstance(row["output"], str):
        return "openrlhf"
    if isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list) and "answer" in keys:
        return "verifiers"
    return "rows"


def mapped(row: Mapping[str, Json], columns: Columns, path: str) -> dict[str, str]:
    """Role -> column of this file. Raises UsageError where a named column, or one of completions, is not there."""
    for role, column in columns.items():
        if column not in row:
            raise UsageError(f"{path} has no column {column!r} for {role}. {_needed(row)}")
    taken = set(columns.values())
    out = dict(columns)
    for role, names in ROLES.items():
        if role not in out and (name := next((n for n in names if n in row and n not in taken), None)):
            out[role] = name
            taken.add(name)
    if "query" in row and out.get("prompt") in ("prompt", "prompts") and "completion" not in columns:
        out["completion"] = "query"  # OpenRLHF's: prompt and reply in one
    if "completion" not in out:
        raise UsageError(f"{path} has no column of completions. {_needed(row)}")
    return out


def _needed(row: Mapping[str, Json]) -> str:
    has = f"It has: {', '.join(sorted(map(str, row))[:30]) or 'none'}. " if row else ""
    roles = "; ".join(f"{role} ({', '.join(names)})" for role, names in ROLES.items())
    return (
        f"{has}Needed is a column of completions; prompt, reference, step and numbers are used where they are. Known "
        f"names: {roles}. Map others: --column completion=my_column. Or name the format: --format {'|'.join(FORMATS)}."
    )


# --- one parser a format ----------------------------------------------------------------------------------------------


def _table(where: str, row: Mapping[str, Json], columns: Columns) -> Iterator[Logged]:
    """TRL's rows, OpenRLHF's, and others of one completion each."""
    prompt_cell, answered = row.get(columns.get("prompt", "")), row.get(columns["completion"])
    if columns["completion"] == "query" and isinstance(answered, list):  # a batch, as a reward server gets it
        for k in range(len(answered)):
            yield from _table(f"{where}, item {k}", {c: v[k] if isinstance(v, list) else v for c, v in row.items()},
                              columns)  # fmt: skip
        return
    if columns["completion"] == "query" and isinstance(answered, str) and isinstance(prompt_cell, str):
        if not answered.startswith(prompt_cell):
            raise Unusable("query does not begin with prompt, so the reply cannot be told from it")
        answered = CLOSING.sub("", answered.removeprefix(prompt_cell))
    prompt, (replies, between) = prompt_of(prompt_cell), turns_of(answered)
    step = row.get(columns.get("step", ""))
    known = {*columns.values(), *NO_NUMBERS}
    yield Logged(
        where, prompt, replies, between,
        int(step) if isinstance(step, (int, float)) and math.isfinite(step) else None,
        references_of(row.get(columns.get("reference", ""), ground_truth(row))),
        {c: number_of(v) for c, v in row.items() if c not in known and (numeric(v) or reads_as_number(v))},
    )  # fmt: skip


def _verifiers(where: str, row: Mapping[str, Json], columns: Columns) -> Iterator[Logged]:
    """Traces (one row may hold several), or a row of version 0."""
    if isinstance(row.get("traces"), list):
        step = ((row.get("run") or {}).get("work") or {}).get("step")
        for k, trace in enumerate(row["traces"]):
            for one in _trace(f"{where}, trace {k}", trace):
                yield replace(one, step=step)
    elif "nodes" in row:
        yield from _trace(where, row)
    else:
        chosen = {"prompt": "prompt", "completion": "completion", "reference": "answer", "step": "step", **columns}
        yield from _table(where, row, chosen)


def _trace(where: str, trace: Mapping[str, Json]) -> Iterator[Logged]:
    nodes, path = trace["nodes"], list[Any]()
    at = len(nodes) - 1 if nodes else None
    while at is not None and len(path) <= len(nodes):  # a file may hold a loop
        path.append(nodes[at])
        at = nodes[at].get("parent")
    messages = [(n["message"], bool(n.get("sampled"))) for n in reversed(path)]
    first = next((k for k, (_, sampled) in enumerate(messages) if sampled), None)
    if first is None:
        raise Unusable("the trace holds no reply of a model")
    replies, between = split_turns([(text_of(m.get("content")), s) for m, s in messages[first:]])
    data = trace["task"]["data"]
    rewards = {n: r for n, r in (trace.get("rewards") or {}).items() if isinstance(r, dict)}
    numbers: dict[str, float | None] = {}
    if rewards:
        numbers["reward"] = number_of(sum(float(r["score"]) * float(r.get("weight", 1.0)) for r in rewards.values()))
    numbers |= {f"rewards.{n}": number_of(r["score"]) for n, r in rewards.items()}
    numbers |= {f"metrics.{n}": number_of(v) for n, v in (trace.get("metrics") or {}).items()}
    prompt = tuple(Message(str(m["role"]), text_of(m.get("content"))) for m, _ in messages[:first])
    yield Logged(where, prompt or None, replies, between, None, references_of(data.get("answer")), numbers)


def _inspect(where: str, row: Mapping[str, Json], columns: Columns) -> Iterator[Logged]:
    """A sample: the dialogue after its input."""
    sample_input = row.get("input")
    messages = row.get("messages") or []
    first = next((k for k, m in enumerate(messages) if m["role"] == "assistant" and m.get("source") != "input"), None)
    if first is None:
        raise Unusable("the sample holds no reply of a model")
    replies, between = split_turns([(text_of(m.get("content")), m["role"] == "assistant") for m in messages[first:]])
    prompt = tuple(Message(str(m["role"]), text_of(m.get("content"))) for m in messages[:first]) or prompt_of(
        sample_input
    )
    numbers: dict[str, float | None] = {}
    for scorer, score in (row.get("scores") or {}).items():
        value = score.get("value")
        if isinstance(value, dict):
            numbers |= {f"{scorer}.{n}": number_of(v) for n, v in value.items()}
        else:
            numbers[scorer] = GRADES.get(value) if isinstance(value, str) else number_of(value)
    yield Logged(where, prompt, replies, between, None, references_of(row.get("target")), numbers)


FORMATS: Mapping[str, Callable[[str, Mapping[str, Json], Columns], Iterable[Logged]]] = {
    "trl": _table, "openrlhf": _table, "verifiers": _verifiers, "inspect": _inspect, "rows": _table,
}  # fmt: skip
