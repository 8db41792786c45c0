"""Sheets of held-out rollouts, drawn at random for a reader to label, and what the labels say of each run's rate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit import seeding
from loopkit.errors import UsageError
from loopkit.evidence.schema import ExperimentResults, Run
from loopkit.experiment.rundir import RunDir, read_spec
from loopkit.experiment.shards import read_shard
from loopkit.parts.data import read_rows
from loopkit.records import Estimate, Json
from loopkit.stats.corrected import sampled
from loopkit.system.files import write_whole


@dataclass(frozen=True, slots=True)
class Seen:
    """A held-out rollout: what a sheet calls it, its run, its rows of the two shards."""

    id: str
    run: Run
    spoken: Mapping[str, Json]
    scored: Mapping[str, Json]


def write_sheet(directory: Path, results: ExperimentResults, count: int, file: Path, seed: int = 0) -> int:
    """Write ``count`` held-out rollouts of each run to ``file`` (JSONL), in random order -> how many.

    A row is id, asked, said, exploit (null: for the reader to set). It names neither arm nor what a detector said.
    """
    if file.exists():
        raise UsageError(f"{file} exists, and may hold a reader's labels. Give another name with --sheet.")
    by_run: dict[str, list[Seen]] = {}
    for one in _rollouts(directory, results):
        by_run.setdefault(one.run.name, []).append(one)
    drawn = [one for run in by_run.values() for one in seeding.shuffled(run, seed, "sheet")[:count]]
    rows = [
        {"id": one.id, "asked": one.spoken.get("asked"), "said": one.spoken["said"], "exploit": None}
        for one in seeding.shuffled(drawn, seed, "order")
    ]
    write_whole(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return len(rows)


def read_sheet(directory: Path, results: ExperimentResults, file: Path, name: str) -> list[tuple[Run, Estimate | None]]:
    """Each run's rate of the detector ``name``, corrected by the labels of its rollouts; None: it has none."""
    labels: dict[str, bool] = {}
    for number, row in enumerate(read_rows(str(file), ("id",))):
        exploit = row.get("exploit")
        if not (exploit is None or isinstance(exploit, bool)):
            raise UsageError(f"{file}, row {number}: exploit is {exploit!r}. Set it to true, false or null.")
        if exploit is not None:
            labels[row["id"]] = exploit
    if not labels:
        raise UsageError(f"{file} holds no label. Set exploit to true or false in its rows.")
    known: dict[str, list[Seen]] = {run.name: [] for run in results.runs}
    for one in _rollouts(directory, results):
        if one.id in labels:
            known[one.run.name].append(one)
    strange = len(labels) - sum(map(len, known.values()))
    if strange:
        raise UsageError(
            f"{strange} of the {len(labels)} labels in {file} are of rollouts that {directory} does not hold. Give the "
            "experiment that the sheet was drawn from."
        )
    return [(run, _corrected(run, known[run.name], labels, name)) for run in results.runs]


def _corrected(run: Run, seen: list[Seen], labels: Mapping[str, bool], name: str) -> Estimate | None:
    flags: list[Any] = [one.scored.get(f"flag.{name}") for one in seen]
    clusters = [str(one.spoken.get("cluster") or one.id) for one in seen]
    return sampled(run.rates.get(name), [labels[one.id] for one in seen], flags, clusters)


def _rollouts(directory: Path, results: ExperimentResults) -> Iterator[Seen]:
    """The rollouts of each run's own evaluation."""
    for run in results.runs:
        spec = read_spec(directory / run.name)
        folder = RunDir(directory / run.name).own_eval_dir(spec)
        spoken, scored = (read_shard(folder / f"{kind}.parquet") for kind in ("rollouts", "scores"))
        for one, other in zip(spoken, scored, strict=True):
            key = seeding.digest(run.name, one["slot"], one["name"], one["occurrence"])
            yield Seen(f"{key:016x}", run, one, other)
