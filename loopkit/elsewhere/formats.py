"""Raw rows -> logged dialogues. Formats are told by their columns; which one fits is decided on the first rows.

- ``trl``: TRL's ``log_completions`` (step, prompt, completion, a column for each reward function, advantage).
- ``verl``: verl's rollout dumps (input, output, gts, score, step).
- ``openrlhf``: what OpenRLHF passes on or keeps: query, prompt and label, as its reward functions get them; input and
  output, as its batch inference writes them; or the table of generated samples (global_step, text, reward).
- ``verifiers``: ``traces.jsonl`` (version 1), or the rows of version 0 (prompt and completion as messages, answer).
- ``inspect``: the samples of an Inspect log.
- ``loopkit``: the rollouts of a run directory of loopkit's.
- ``messages``, ``responses``, ``atif``, ``traj``: whole dialogues (``dialogues``).
- ``rows``: anything else with a column of completions, one a row or several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loopkit.elsewhere import dialogues
from loopkit.elsewhere.dialogues import NO_NUMBERS, REFERENCES, STEPS, step_of, unit_of
from loopkit.elsewhere.files import Skipped, expand, rows
from loopkit.elsewhere.parts import (
    Logged,
    Unusable,
    ground_truth,
    kind_of,
    logged,
    number_of,
    numeric,
    prompt_of,
    reads_as_number,
    references_of,
    turns_of,
)
from loopkit.errors import UsageError, nearest
from loopkit.records import Json

ROLES: Mapping[str, Sequence[str]] = {
    "prompt": ("prompt", "prompts", "input", "question", "query", "instruction", "problem"),
    "completion": ("completion", "completions", "output", "response", "generation", "text"),
    "reference": REFERENCES,
    "step": STEPS,
}  # fmt: skip
"""Roles a column may have, and the names it is known by, the first that is there first."""
CLOSING = re.compile(r"(?:\s*(?:<\|[\w/ ]{1,40}\|>|</s>))+\s*$")
"""Marks with which a chat template ends a turn, left in by decoding that skips no special tokens."""


@dataclass(frozen=True)
class Log:
    """All that was read."""

    files: tuple[Path, ...]
    formats: tuple[str, ...]
    rows: tuple[Logged, ...]
    skipped: tuple[Skipped, ...]


Columns = Mapping[str, str]
"""Role -> the column that has it."""


def read(
    paths: Sequence[Path], format: str | None = None, columns: Columns | None = None, *, whole: bool = False
) -> Log:
    """Read logs. ``format`` overrides what the columns say, ``columns`` (role -> column) the names they are known by.
    ``whole``: keep with each dialogue all that stands in its row.

    Raises UsageError where a file has no completions, naming what was found and how to map it.
    """
    files, skipped, out, formats = expand(paths), list[Skipped](), list[Logged](), list[str]()
    for role in columns or {}:
        if role not in ROLES:
            raise UsageError(f"--column {role}: a column is one of {', '.join(ROLES)}. {nearest(role, ROLES)}")
    faults: list[UsageError] = []
    for path in files:
        before = len(out)
        try:
            rows, kind = _read(path, format, dict(columns or {}), skipped, whole)
            out += rows
            formats.append(kind)
            if len(out) == before:
                why = [s for s in skipped if s.where.startswith(f"{path}, ")]
                told = f" The first fault: {why[0].where}: {why[0].why}." if why else ""
                raise UsageError(f"{path} ({kind}) has no completion that can be read.{told} {_needed({})}")
        except UsageError as fault:  # one file of many that is cancelled, cut or of another kind
            faults.append(fault)
            skipped.append(Skipped(str(path), f"the file is passed over: {fault}"))
    if not out:
        raise faults[0] if len(faults) == 1 else UsageError(f"none of {len(files)} files can be read. {faults[0]}")
    return Log(tuple(files), tuple(dict.fromkeys(formats)), tuple(out), tuple(skipped))


def _read(
    path: Path, format: str | None, columns: dict[str, str], skipped: list[Skipped], whole: bool
) -> tuple[list[Logged], str]:
    out: list[Logged] = []
    kind, parse, fault = "", None, None
    for where, raw in rows(path, skipped):
        if not isinstance(raw, dict):
            skipped.append(Skipped(where, f"{kind_of(raw)}, not an object with columns"))
            continue
        if parse is None:
            kind = format or told(raw)
            if FORMATS[kind] is _table:
                try:
                    columns = mapped(raw, columns, str(path))
                except UsageError as error:  # the next row may have what this one lacks
                    fault = fault or error
                    skipped.append(Skipped(where, "it lacks a column of completions, or one that was named"))
                    continue
            parse = FORMATS[kind]
        try:
            dialogues_of_row = list(parse(where, raw, columns))
            if whole:
                dialogues_of_row = [replace(d, row=_share(raw, k, len(dialogues_of_row)))
                                    for k, d in enumerate(dialogues_of_row)]  # fmt: skip
            out += dialogues_of_row
        except Unusable as error:
            skipped.append(Skipped(where, str(error)))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
            skipped.append(Skipped(where, f"no row of {kind}: {type(error).__name__} {error}"[:200]))
    if parse is None and fault is not None:
        raise fault
    return out, kind or format or "empty"


def _share(row: Mapping[str, Json], k: int, n: int) -> Mapping[str, Json]:
    """What a row says of its ``k``-th of ``n`` dialogues: of lists with one item for each, that item."""
    if n == 1:
        return row
    return {name: v[k] if isinstance(v, list) and len(v) == n else v for name, v in row.items()}


def told(row: Mapping[str, Json]) -> str:
    """The format that a row's keys tell."""
    keys = row.keys()
    if isinstance(row.get("traces"), list) or {"nodes", "task"} <= keys:
        return "verifiers"
    if {"id", "epoch", "messages", "scores"} <= keys or {"id", "epoch", "input", "output", "target"} <= keys:
        return "inspect"
    if str(row.get("schema_version", "")).startswith("ATIF") and isinstance(row.get("steps"), list):
        return "atif"
    if isinstance(row.get("trajectory"), list) and ("history" in keys or "info" in keys):
        return "traj"
    if isinstance(row.get("response"), dict) and "output" in row["response"]:
        return "responses"
    if row.get("object") == "response" and isinstance(row.get("output"), list):
        return "responses"
    if {"slot", "said", "replies"} <= keys:
        return "loopkit"
    if {"step", "prompt", "completion"} <= keys:
        return "trl"
    if {"input", "output", "score"} <= keys and keys & {"gts", "step"}:
        return "verl"
    if {"global_step", "text", "reward"} <= keys or {"query", "prompt"} <= keys or {"query", "prompts"} <= keys:
        return "openrlhf"
    if {"input", "output"} <= keys and isinstance(row["output"], str):
        return "openrlhf"
    if isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list) and "answer" in keys:
        return "verifiers"
    if isinstance(row.get("messages"), list) and not keys & set(ROLES["completion"]):
        return "messages"
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
    if isinstance(answered, list) and answered and not any(isinstance(m, dict) for m in answered):
        for k, one in enumerate(answered):  # several completions of one prompt, and as many of what is told of each
            of_it = {c: v[k] if isinstance(v, list) and len(v) == len(answered) else v for c, v in row.items()}
            of_it[columns.get("prompt", "")] = prompt_cell
            yield from _table(f"{where}, completion {k}", {**of_it, columns["completion"]: one}, columns)
        return
    known = {*columns.values(), *NO_NUMBERS}
    yield logged(
        where, prompt_of(prompt_cell), turns_of(answered), step=step_of(row.get(columns.get("step", ""))),
        references=references_of(row.get(columns.get("reference", ""), ground_truth(row))), unit=unit_of(row),
        numbers={c: number_of(v) for c, v in row.items() if c not in known and (numeric(v) or reads_as_number(v))},
    )  # fmt: skip


def _verifiers(where: str, row: Mapping[str, Json], columns: Columns) -> Iterator[Logged]:
    """Traces, or a row of version 0."""
    if isinstance(row.get("traces"), list) or "nodes" in row:
        yield from dialogues.verifiers(where, row)
    else:
        chosen = {"prompt": "prompt", "completion": "completion", "reference": "answer", "step": "step", **columns}
        yield from _table(where, row, chosen)


Parse = Callable[[str, Mapping[str, Json], Columns], Iterable[Logged]]


def _whole(parse: Callable[[str, Mapping[str, Json]], Iterable[Logged]]) -> Parse:
    """A parser of whole dialogues, whose columns have no choice of names."""
    return lambda where, row, columns: parse(where, row)


FORMATS: Mapping[str, Parse] = {
    "trl": _table, "verl": _table, "openrlhf": _table, "verifiers": _verifiers, "inspect": _whole(dialogues.inspect),
    "messages": _whole(dialogues.messages), "responses": _whole(dialogues.responses), "atif": _whole(dialogues.atif),
    "traj": _whole(dialogues.trajectory), "loopkit": _whole(dialogues.recorded), "rows": _table,
}  # fmt: skip
