"""Files -> raw rows, each with its place. A row that cannot be read is named and counted; the others are kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopkit.elsewhere.parts import reads_as_number
from loopkit.errors import UsageError, needing
from loopkit.records import Json
from loopkit.registry.contain import excerpt

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".eval", ".csv", ".traj")
Raw = tuple[str, Json]
"""(place: file and line or row, what stands there)."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that could not be used: where, and why."""

    where: str
    why: str


def expand(paths: Sequence[Path]) -> list[Path]:
    """The files meant: a directory stands for the logs in it. Raises UsageError where there is none."""
    out: list[Path] = []
    for path in paths:
        if (path / "run.toml").is_file():
            files = sorted((path / "rollouts").glob("step-*.parquet"))
            if not files:
                raise UsageError(f"{path} is a run that has recorded no step. Name one that has.")
            out += files
        elif path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file())
            files = files or sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not files:
                raise UsageError(f"{path} holds no {', '.join(SUFFIXES)} file. Name the files themselves.")
            out += files
        elif path.is_file():
            out.append(path)
        else:
            raise UsageError(f"{path} does not exist. Name a file or a directory of logs.")
    return out


def rows(path: Path, skipped: list[Skipped]) -> Iterator[Raw]:
    """The rows of one file; what is broken goes to ``skipped``. Raises UsageError where the file is no log at all."""
    scores = path.parent.parent / "scores" / path.name
    if path.suffix == ".parquet" and path.parent.name == "rollouts" and scores.is_file():
        for (where, said), (_, made) in zip(_parquet(path), _parquet(scores), strict=True):
            yield where, {**said, **made}
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".eval":
        yield from _inspect(path)
    elif path.suffix in (".json", ".traj"):
        yield from _json(path, skipped)
    elif path.suffix == ".csv":
        yield from _csv(path)
    elif path.suffix in (".jsonl", ".ndjson"):
        yield from _lines(path, skipped)
    else:
        raise UsageError(f"{path}: logs are read from {', '.join(SUFFIXES)} files. Convert it, or rename it.")


def _parquet(path: Path) -> Iterator[Raw]:
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(use_threads=False):
                for row in batch.to_pylist():
                    yield f"{path}, row {number}", row
                    number += 1
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise UsageError(f"{path} cannot be read as Parquet: {excerpt(str(error))}. Write it anew.") from error


def _lines(path: Path, skipped: list[Skipped]) -> Iterator[Raw]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                where = f"{path}, line {number}"
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not line.strip():
                    continue
                try:
                    yield where, json.loads(line.decode("utf-8"))
                except (ValueError, RecursionError) as error:
                    skipped.append(Skipped(where, f"not JSON: {excerpt(str(error), 120)}"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error


def _json(path: Path, skipped: list[Skipped]) -> Iterator[Raw]:
    try:
        parsed = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError):
        yield from _lines(path, skipped)  # JSON lines under the name of JSON
        return
    if isinstance(parsed, dict) and {"eval", "status"} <= parsed.keys() and not parsed.get("samples"):
        raise UsageError(f"{path} is an Inspect log without samples (status {excerpt(str(parsed['status']), 40)}).")
    if isinstance(parsed, dict) and isinstance(parsed.get("samples"), list):  # an Inspect log written as JSON
        yield from ((f"{path}, sample {k}", one) for k, one in enumerate(parsed["samples"]))
    elif isinstance(parsed, dict) and isinstance(parsed.get("columns"), list) and isinstance(parsed.get("data"), list):
        for k, values in enumerate(parsed["data"]):  # a table as Weights & Biases keeps it
            if isinstance(values, list) and len(values) == len(parsed["columns"]):
                yield f"{path}, row {k}", dict(zip(map(str, parsed["columns"]), values, strict=True))
            else:
                skipped.append(Skipped(f"{path}, row {k}", "not as many values as the table has columns"))
    else:
        yield from ((f"{path}, row {k}", one) for k, one in enumerate(parsed if isinstance(parsed, list) else [parsed]))


def _csv(path: Path) -> Iterator[Raw]:
    """A table with a line of names; a cell that reads as a number is one."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 1):
                row.pop(None, None)  # cells beyond the line of names
                yield f"{path}, row {number}", {name: _cell(value) for name, value in row.items()}
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}.") from error


def _cell(value: str | None) -> Json:
    if value is None or not reads_as_number(value):
        return value
    return float(value)


def _inspect(path: Path) -> Iterator[Raw]:
    with needing(f"{path}, an Inspect log,"):
        from inspect_ai.log import read_eval_log
    try:
        log = read_eval_log(str(path))
    except Exception as error:
        raise UsageError(f"{path} cannot be read as an Inspect log: {excerpt(str(error))}.") from error
    if not log.samples:
        raise UsageError(f"{path} is an Inspect log without samples (status {log.status}).")
    for k, sample in enumerate(log.samples):
        yield f"{path}, sample {k}", sample.model_dump(mode="json")
