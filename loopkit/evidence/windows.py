"""A run's exploit rate over several steps together, from its recorded flags: what onsets are seen in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loopkit.contracts import CORE_CLUES, ExploitDetector
from loopkit.experiment.shards import read_shard, shards, thoughts_of
from loopkit.records import Estimate, Json
from loopkit.rollouts.scoring import Setup, readable
from loopkit.stats.onset import Windows, lengths


class Step(NamedTuple):
    """(B,) flags of a step's rollouts, what the detector's rate may read of each, and their clusters."""

    flags: list[bool | None]
    clues: list[dict[str, Json]]
    clusters: list[str]


Trace = Sequence[Step | None]
"""A run's steps; None: not recorded, or not judged."""


def recorded(run: Path, setup: Setup, steps: int) -> list[Step | None]:
    """(``steps``,) of a run's flags by the detector of onset; None of a step that was not recorded, or not judged."""
    name, detector = setup.onset, setup.detectors[setup.onset]
    out: list[Step | None] = [None] * steps
    tasks: dict[str, Any] = {}
    for step, file in shards(run / "scores"):
        rows = read_shard(file)
        if step >= steps or all(row.get(f"flag.{name}") is None for row in rows):
            continue
        split: Any = rows[0]["slot"].split("/", 1)[0]
        tasks = tasks or {task.id: task for task in setup.game.tasks(split)}
        tasks_played = [tasks[row["slot"].split("/", 3)[3]] for row in rows]
        clues = [{k[5:]: json.loads(v) for k, v in row.items() if k.startswith("clue.") and v} for row in rows]
        if detector.reads & CORE_CLUES:
            rollouts = read_shard(run / "rollouts" / file.name)
            for clue, task, row in zip(clues, tasks_played, rollouts, strict=True):
                clue |= {"asked": [m.content for m in task.messages], "said": row["said"], "thoughts": thoughts_of(row)}
        flags = [row[f"flag.{name}"] for row in rows]
        out[step] = Step(flags, readable(name, detector, clues), [task.cluster for task in tasks_played])
    return out


def together(detector: ExploitDetector, steps: Iterable[Step]) -> Estimate | None:
    """The detector's rate of all rollouts of some steps; a prompt that was played in several is one cluster."""
    some = list(steps)
    flags = [flag for step in some for flag in step.flags]
    clues = [clue for step in some for clue in step.clues]
    clusters = [cluster for step in some for cluster in step.clusters]
    return detector.rate(flags, clues, clusters) if flags else None


def windows(detector: ExploitDetector, steps: Trace) -> Windows:
    """By length: (T,) rates of the last so many recorded steps up to each; None: there were fewer."""
    out: dict[int, list[Estimate | None]] = {}
    for length in lengths(len(steps)):
        last: list[Step] = []
        out[length] = []
        for step in steps:
            last = last if step is None else [*last, step][-length:]
            new = step is not None and len(last) == length
            out[length].append(together(detector, last) if new else None)
    return out


def first_steps(detector: ExploitDetector, runs: Iterable[Trace]) -> Estimate | None:
    """The start policy's rate on training prompts: of the first step of several seeds' runs, which it played."""
    return together(detector, [run[0] for run in runs if run and run[0] is not None])
