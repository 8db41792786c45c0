"""Shards: rows of a step or an evaluation as Parquet, what was said and what was made of it, written and read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loopkit.contracts import Game
from loopkit.errors import RunError, UsageError
from loopkit.records import Done, Json, Message, Rollout, Scored, Turn
from loopkit.system.files import write_whole

ASKED = "asked"
"""Column of a rollout's prompt, in runs made elsewhere."""


def rollout_row(s: Scored) -> dict[str, Json]:
    """What was said: enough to score it again."""
    r = s.rollout
    return {
        "slot": r.slot,
        "name": r.id.rpartition("/")[2],
        "occurrence": s.occurrence,
        "task": r.task.id,
        "seed": r.seed,
        "said": list(r.words),
        **({"thoughts": list(r.thoughts)} if any(r.thoughts) else {}),
        **({"inserted": [t.inserted and "{}:{}".format(*t.inserted) for t, _ in r.steps]} if budgeted(r) else {}),
        "finish": [t.finish for t, _ in r.steps],
        "tokens": [None if t.ids is None else len(t.ids) for t, _ in r.steps],
        "replies": [
            json.dumps({"done": isinstance(m, Done), "state": m.state, **({} if isinstance(m, Done) else m.wire())})
            for _, m in r.steps
        ],
    }


def asking_row(s: Scored) -> dict[str, Json]:
    """The same with its prompt: of a run made elsewhere no game can be asked for it."""
    task = s.rollout.task
    return {**rollout_row(s), ASKED: json.dumps([[m.role, m.content] for m in task.messages]), "cluster": task.cluster}


def prompt_in(row: Mapping[str, Json]) -> list[tuple[str, str]] | None:
    """(role, text) of the opening messages that a rollout's row keeps; None of a game's, which has them itself."""
    kept = row.get(ASKED)
    return None if kept is None else [(role, text) for role, text in json.loads(kept)]


def budgeted(rollout: Rollout) -> bool:
    """Whether its thoughts had a budget of their own."""
    return any(turn.inserted is not None for turn, _ in rollout.steps)


def score_row(s: Scored) -> dict[str, Json]:
    """What was made of it: derived, so ``loopkit rescore`` can rebuild it."""
    return {
        "slot": s.rollout.slot,
        "occurrence": s.occurrence,
        **{f"score.{k}": None if v is None else float(v) for k, v in sorted(s.assessment.scores.items())},
        **{f"signal.{k}": float(v) for k, v in sorted(s.assessment.signals.items())},
        **{f"clue.{k}": json.dumps(v, sort_keys=True) for k, v in sorted(s.assessment.clues.items())},
        **{f"reward.{k}": v for k, v in s.rewards.items()},
        **{f"flag.{k}": v for k, v in s.flags.items()},
    }


def write_shard(path: Path, rows: Sequence[Mapping[str, Json]]) -> bytes:
    """Write rows as Parquet, and return it."""
    data = shard(rows)
    write_whole(path, data)
    return data


def shard(rows: Sequence[Mapping[str, Json]]) -> bytes:
    """Rows as Parquet. Column types come from the names, so that an all-None column keeps its type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for row in rows for name in row))
    schema = pa.schema([(name, _type(pa, name)) for name in names])
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    data: bytes = buffer.getvalue().to_pybytes()
    return data


def _type(pa: Any, name: str) -> Any:
    kind = name.split(".", 1)[0]
    if kind in ("score", "signal", "reward"):
        return pa.float64()
    if kind == "flag":
        return pa.bool_()
    if name in ("said", "thoughts", "finish", "replies", "inserted"):
        return pa.list_(pa.string())
    if name == "tokens":
        return pa.list_(pa.int32())
    return pa.int64() if name in ("occurrence", "seed") else pa.string()


def read_shard(path: Path) -> list[dict[str, Json]]:
    """A shard's rows. Raises RunError naming a shard that cannot be read."""
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Json]] = pq.read_table(path).to_pylist()
    except Exception as error:
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}). Restore it, or remove the run from that step on."
        ) from error
    return rows


def read_rollouts(path: Path, game: Game) -> list[tuple[Rollout, int]]:
    """A rollouts shard as (rollout, occurrence), with the game's own tasks. A task the game lacks is an error."""
    rows = read_shard(path)
    if not rows:
        return []
    split: Any = rows[0]["slot"].split("/", 1)[0]
    tasks = {t.id: t for t in game.tasks(split)}
    out = []
    for row in rows:
        if row["task"] not in tasks:
            raise UsageError(
                f"{path}: the game has no task {row['task']!r} any more, so its rollouts cannot be read. "
                "Use the game's version and data of the run."
            )
        steps = []
        put_in = row.get("inserted") or [None] * len(row["said"])
        columns = (row["said"], thoughts_of(row), row["finish"], put_in, row["replies"])
        for text, thought, finish, inserted, reply in zip(*columns, strict=True):
            data = json.loads(reply)
            answer = Done(data["state"]) if data["done"] else Message.read(data)
            begin, _, end = (inserted or "").partition(":")
            put = (int(begin), int(end)) if inserted else None
            steps.append((Turn(text, finish, thoughts=thought, inserted=put), answer))
        id_ = f"{row['slot']}/{row['name']}"
        out.append((Rollout(id_, tasks[row["task"]], tuple(steps), row["seed"]), row["occurrence"]))
    return out


def thoughts_of(row: Mapping[str, Json]) -> list[str]:
    """The thoughts of a rollout's row, turn by turn; a shard in which nobody thought has no such column."""
    return list(row.get("thoughts") or [""] * len(row["said"]))


def shards(path: Path) -> list[tuple[int, Path]]:
    """(step, file) of a folder's shards, in order."""
    found = [(int(m[1]), p) for p in path.glob("*.parquet") if (m := re.fullmatch(r"step-(\d+)\.parquet", p.name))]
    return sorted(found)
