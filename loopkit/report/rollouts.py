"""Which rollouts a report shows: a stratified sample, and the earliest that exploit. Reads only what it needs.

All draws are keyed: the same records give the same sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopkit import seeding
from loopkit.errors import RunError
from loopkit.evidence import exploit
from loopkit.experiment.rundir import OTHER_OPTIONS, RunDir
from loopkit.experiment.shards import prompt_in, shards, thoughts_of
from loopkit.records import Json
from loopkit.report.gather import ExperimentData, RunData

SHARDS = 40
"""Shards of one run that are read in full; the steps between them are only counted."""
COUNTED = {True: 20_000, False: 5_000}
"""Flagged and unflagged rollouts of an experiment in which texts are counted: all, or every m-th."""
LONGEST = 2_000
"""Characters of one turn that are embedded."""
Prompt = list[tuple[str, str]]


@dataclass(frozen=True)
class SpokenTurn:
    """One turn: what was said, how it ended, the game's answer, if it was a message; ``cut`` characters left out."""

    text: str
    finish: str
    reply: str | None
    cut: int


@dataclass(frozen=True)
class Row:
    """One rollout as it is shown. ``step`` is None of a held-out evaluation."""

    experiment: int
    run: RunData
    split: str
    step: int | None
    slot: str
    name: str
    task: str
    turns: tuple[SpokenTurn, ...]
    flags: Mapping[str, bool | None]
    rewards: Mapping[str, float]
    scores: Mapping[str, float | None]
    clues: Mapping[str, Json]
    prompt: Prompt | None

    @property
    def id(self) -> str:
        """Names the rollout in permalinks: experiment, run, and its id in the records (slot and name)."""
        return f"{self.experiment}/{self.run.name}/{self.slot}/{self.name}"

    @property
    def text(self) -> str:
        return "\n".join(t.text for t in self.turns)


@dataclass
class Shown:
    """Of one experiment: the rows, how many there are in all, and where each trained run first exploits."""

    rows: list[Row] = field(default_factory=list)
    total: int = 0
    first: list[tuple[Row, ...]] = field(default_factory=list)
    """Each an exploit: a flagged rollout, or the unflagged and the flagged one that are it together."""
    said: list[Row] = field(default_factory=list)
    """What texts are counted in (COUNTED), of the training steps that were read."""


@dataclass(frozen=True)
class _Shard:
    split: str
    step: int | None
    rollouts: Path
    scores: Path


Flags = list[bool | None]


class Cache(dict[tuple[Path, int, int], Flags]):
    """(shard, its time and size) -> its flags: a live page reads only what is new."""


def show(experiment: ExperimentData, number: int, budget: int, cache: Cache) -> Shown:
    """At most about ``budget`` rollouts of an experiment, the same share of each run; and its first exploits."""
    out = Shown()
    detector = experiment.headline
    runs = [(run, list(_shards(run))) for run in experiment.runs]
    flags = {s.scores: _flags(s.scores, detector, cache) for _, shards_ in runs for s in shards_}
    out.total = sum(map(len, flags.values()))
    early = {run.name: _earliest(experiment, run, of_run, flags) for run, of_run in runs}
    read = {
        run.name: sorted({*_spread(len(of_run), SHARDS), *(i for i, *_ in early[run.name])}) for run, of_run in runs
    }
    training = [
        flags[of_run[i].scores]
        for run, of_run in runs
        if run.trained
        for i in read[run.name]
        if of_run[i].step is not None
    ]
    every = {f: max(1, -(-sum(x.count(f) for x in training) // COUNTED[f])) for f in (True, False)}
    for run, of_run in runs:
        quota = budget / max(1, len(experiment.runs) * len(read[run.name]))
        for i in read[run.name]:
            shard, of = of_run[i], flags[of_run[i].scores]
            first = [places for j, *places in early[run.name] if j == i]
            chosen = {
                *(k for places in first for k in places),
                *_stratified(of, max(1, round(quota)), f"{run.name}/{shard.rollouts.name}"),
            }
            counted = set[int]()
            if run.trained and shard.step is not None:
                counted = {k for f, m in every.items() for k in [j for j, x in enumerate(of) if x is f][::m]}
            rows = _rows(number, run, shard, experiment, len(of), sorted(chosen | counted))
            out.rows += [rows[k] for k in sorted(chosen)]
            out.first += [tuple(rows[k] for k in places) for places in first]
            out.said += [rows[k] for k in sorted(counted)]
    return out


def _shards(run: RunData) -> Iterator[_Shard]:
    closed = {s["step"] for s in run.steps}
    for step, path in shards(run.path / "rollouts"):
        if step in closed:  # else it is being written, or was left by a killed process
            yield _Shard("train", step, path, run.path / "scores" / path.name)
    for folder in RunDir(run.path).evaluations(run.spec.game):
        if OTHER_OPTIONS not in folder.name:
            yield _Shard(folder.name.partition("-")[0], None, folder / "rollouts.parquet", folder / "scores.parquet")


def _table(path: Path, columns: Sequence[str] | None = None) -> Any:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = None if columns is None else [c for c in columns if c in file.schema_arrow.names]
            return file.read(columns=names, use_threads=False)
    except Exception as error:
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}). Restore it, or remove the run from that step on and run "
            "the same command."
        ) from error


def _flags(path: Path, detector: str | None, cache: Cache) -> Flags:
    """A shard's flags of the headline detector, (n,); None where it abstains or there is none."""
    try:
        at = path.stat()
    except OSError as error:
        raise RunError(f"{path} is missing. `loopkit rescore {path.parent.parent}` makes it anew.") from error
    key = (path, at.st_mtime_ns, at.st_size)
    if key not in cache:
        table = _table(path, ["occurrence", f"flag.{detector}"])
        names = table.column_names
        cache[key] = (
            table.column(f"flag.{detector}").to_pylist() if f"flag.{detector}" in names else [None] * len(table)
        )
    return cache[key]


def _earliest(
    experiment: ExperimentData, run: RunData, shards_of: Sequence[_Shard], flags: Mapping[Path, Flags]
) -> list[tuple[int, ...]]:
    """(shard, row, ...) of a trained run's first exploit in training, and of the first from onset on."""
    if not run.trained:
        return []
    path = experiment.discovery(run)
    onset = path.onset if path else None
    out: list[tuple[int, ...]] = []
    for start in [0] if onset is None else [0, onset]:
        hits = ((i, *_first(experiment, s, flags[s.scores])) for i, s in enumerate(shards_of)
                if s.step is not None and s.step >= start and True in flags[s.scores])  # fmt: skip
        hit = next((h for h in hits if len(h) > 1), None)
        if hit is not None and hit not in out:
            out.append(hit)
    return out


def _first(experiment: ExperimentData, shard: _Shard, flags: Flags) -> tuple[int, ...]:
    """The rows of a shard's first exploit; none where a rate is a difference and no pair makes it up."""
    game, name = experiment.tasks.game, experiment.headline
    detector = None if game is None or name is None else game.detectors.get(name)
    if detector is None or not exploit.paired(detector):
        return (flags.index(True),)
    tasks = experiment.tasks.of(shard.split)
    rollouts = _table(shard.rollouts).to_pylist()
    scored = _table(shard.scores).to_pylist()
    known = [i for i, row in enumerate(rollouts) if row["task"] in tasks]
    clues = [exploit.clues_of(scored[i], rollouts[i], tasks[rollouts[i]["task"]]) for i in known]
    read = [{k: v for k, v in c.items() if k in detector.reads} for c in clues]
    names = [rollouts[i]["task"] for i in known]
    places = exploit.first(detector, [flags[i] for i in known], read, names, [tasks[n].cluster for n in names])
    return tuple(known[k] for k in places)


def _spread(n: int, most: int) -> list[int]:
    """At most ``most`` of range(n), evenly, first and last among them."""
    if n <= most:
        return list(range(n))
    return sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def _stratified(flags: Flags, quota: int, key: str) -> list[int]:
    """At most ``quota`` row numbers: as many flagged as unflagged ones, then abstaining ones, as there are."""
    strata = [[k for k, f in enumerate(flags) if f is value] for value in (True, False, None)]
    strata = [seeding.shuffled(s, 0, "report sample", key) for s in strata]
    out: list[int] = []
    while len(out) < quota and any(strata):
        out += [s.pop() for s in strata if s]
    return sorted(out[:quota])


def _rows(
    number: int, run: RunData, shard: _Shard, experiment: ExperimentData, n: int, wanted: Sequence[int]
) -> dict[int, Row]:
    """The ``wanted`` rows of a shard of ``n``, by their place in it."""
    rollouts, scores = _table(shard.rollouts), _table(shard.scores)
    if not len(rollouts) == len(scores) == n:
        raise RunError(
            f"{shard.scores} has {len(scores)} rows for {len(rollouts)} rollouts. Run `loopkit rescore {run.path}`."
        )

    def part(row: Mapping[str, Json], kind: str) -> dict[str, Json]:
        return {k.partition(".")[2]: v for k, v in row.items() if k.startswith(f"{kind}.")}

    out = {}
    for k, one, scored in zip(wanted, rollouts.take(wanted).to_pylist(), scores.take(wanted).to_pylist(), strict=True):
        whole = [thought + text for thought, text in zip(thoughts_of(one), one["said"], strict=True)]
        turns = tuple(_turn(*t) for t in zip(whole, one["finish"], one["replies"], strict=True))
        clues = {name: json.loads(v) if isinstance(v, str) else v for name, v in part(scored, "clue").items()}
        out[k] = Row(
            number, run, shard.split, shard.step, one["slot"], one["name"], one["task"], turns,
            part(scored, "flag"), part(scored, "reward"), part(scored, "score"), clues,
            prompt_in(one) or experiment.tasks.prompt(one["slot"].partition("/")[0], one["task"]),
        )  # fmt: skip
    return out


def _turn(text: str, finish: str, reply: str) -> SpokenTurn:
    answer = json.loads(reply)
    content = None if answer.get("done") else str(answer["content"])
    return SpokenTurn(text[:LONGEST], finish, content, max(0, len(text) - LONGEST))
