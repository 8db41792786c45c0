"""Reads rows of real data from local Parquet or JSONL, in the layout RL libraries share (prompt, reward_model, …)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from loopkit.contracts import Options, Split
from loopkit.errors import UsageError, nearest
from loopkit.records import Labelled, Message, Task
from loopkit.seeding import uniform


class DataOptions(Options):
    """Options of a game that can play on real rows. The file's hash is part of the run's identity."""

    data: str = Field("", description="local Parquet or JSONL file of real rows; empty: the game's own tasks")
    data_sha256: str = Field("", description="filled in from the file; a changed file is refused on resume")

    @model_validator(mode="after")
    def _fingerprint(self) -> DataOptions:
        if self.data:
            path = Path(self.data)
            if not path.is_file():
                raise ValueError(f"data file {self.data!r} does not exist")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            if self.data_sha256 not in ("", digest):
                raise ValueError(f"data file {self.data!r} has changed since this run began (start a new --out)")
            object.__setattr__(self, "data_sha256", digest)
        return self


def read_rows(path: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The file's rows, each with at least ``columns``. Raises UsageError naming the missing column and those there."""
    file = Path(path)
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        try:
            rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
        except Exception as error:
            raise UsageError(
                f"{path} cannot be read as Parquet: {error}. Write it anew, or name another file."
            ) from error
    elif file.suffix in (".jsonl", ".json", ".ndjson"):
        rows = []
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read as UTF-8 text: {error}") from error
        for number, line in enumerate(text.split("\n"), 1):  # splitlines() would cut at U+2028 inside a string
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UsageError(f"{path}, line {number} is not JSON: {error}. Write one object a line.") from error
            if not isinstance(row, dict):
                raise UsageError(f"{path}, line {number} is not a JSON object. Write one object a line.")
            rows.append(row)
    else:
        raise UsageError(f"{path}: data is read from .parquet or .jsonl files. Convert it, or rename it.")
    if not rows:
        raise UsageError(f"{path} has no rows. Give it at least one, or leave --data out.")
    for number, row in enumerate(rows):
        for column in columns:
            if row.get(column) is None:
                raise UsageError(
                    f"{path}, row {number} has no column {column!r}. "
                    f"{nearest(column, row).replace('Known:', 'It has:')} "
                    f"This game needs: {', '.join(columns)}."
                )
    return rows


@lru_cache(maxsize=8)
def read_labelled(path: Path) -> tuple[Labelled, ...]:
    """A JSONL file of labelled transcripts: task (id, messages, public, secret), said, flags, classes, from, note.

    Raises UsageError naming a row that is none.
    """
    out = []
    for number, row in enumerate(read_rows(str(path), ("task", "said", "from"))):
        try:
            task = {**row["task"], "messages": tuple(map(Message.read, row["task"]["messages"]))}
            flags, classes = row.get("flags", {}), row.get("classes", {})
            if row["from"] not in ("written", "sampled") or not all(f in (True, False, None) for f in flags.values()):
                raise ValueError("from is written or sampled, and flags are true, false or null")
            one = Labelled(Task(**task), tuple(row["said"]), flags, classes, row["from"], row.get("note", ""))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path}, row {number} is not a labelled transcript: {error}. Mend the row.") from error
        out.append(one)
    return tuple(out)


def messages(row: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    """The row's ``prompt``: a list of {role, content}, that list as a JSON string, or plain text (one user turn)."""
    prompt = row["prompt"]
    if isinstance(prompt, str):
        try:
            parsed = json.loads(prompt)
        except json.JSONDecodeError:
            parsed = None
        chat = isinstance(parsed, list) and all(isinstance(m, dict) for m in parsed)
        prompt = parsed if chat else [{"role": "user", "content": prompt}]  # "42" is a question, too
    try:
        opening = tuple(Message(str(m["role"]), str(m["content"])) for m in prompt)
    except (TypeError, KeyError) as error:
        raise UsageError(f"{where}: prompt is not a list of {{role, content}}. Mend the row.") from error
    if not opening:
        raise UsageError(f"{where}: prompt is empty. Drop the row.")
    return opening


def split_of(*keys: Any, train: float = 0.6) -> Split:
    """The split a thing belongs to, by hash: ``train`` of all, the rest halved between dev and test."""
    u = uniform("split", *keys)
    return "train" if u < train else "dev" if u < (1 + train) / 2 else "test"
