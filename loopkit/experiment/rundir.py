"""A run's directory: who wrote it, what was said, what was made of it. Every file is written whole and renamed.

run.toml        the resolved spec                 manifest.json   versions, plugin origins, git, spec hash
steps.jsonl     one StepMetrics a line            timings.jsonl   the only file that may differ between replays
rollouts/step-000042.parquet   what was said      scores/step-000042.parquet   what was made of it (derived)
checkpoints/    the trainer's                     eval/<game>/<split>-<checkpoint>/
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from loopkit.contracts import Game, Split
from loopkit.errors import RunError, UsageError
from loopkit.experiment.config import SCHEMA, RunSpec
from loopkit.records import Done, Estimate, Json, Message, Rollout, Scored, StepMetrics, Turn
from loopkit.registry.files import is_file, label
from loopkit.rollouts.metrics import Summary
from loopkit.system.files import TEMPORARY, locked, to_json, write_whole, writing
from loopkit.system.notices import notice

OTHER_OPTIONS = "-options"
"""In the name of an evaluation: the game was played with other options than the run's own."""


class RunDir:
    """Opens (or makes) a run's directory and is the recorder of its referee."""

    def __init__(self, path: Path, observe: Callable[[StepMetrics], None] = lambda metrics: None) -> None:
        self.path = path
        self.observe = observe
        self._lines: dict[int, str] | None = None

    # --- identity ---------------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def belongs_to(self, spec: RunSpec) -> bool:
        """Whether the directory is this spec's; False if it is nobody's. Another's is refused, with the difference."""
        if not (self.path / "run.toml").exists():
            return False
        check_same(self.path, self.spec().model_dump(mode="json"), spec.model_dump(mode="json"))
        return True

    def begin(self, spec: RunSpec, manifest: Mapping[str, Json]) -> None:
        """Claim the directory for a spec, or confirm that it is this spec's. Raises UsageError with the difference."""
        if self.belongs_to(spec):
            for half in self.path.rglob(f"{TEMPORARY}*"):
                if half.is_file():
                    half.unlink()
        else:
            write_whole(self.path / "run.toml", tomli_w.dumps(_no_none(spec.model_dump(mode="json"))).encode())
        if not (self.path / "manifest.json").exists():
            write_whole(self.path / "manifest.json", to_json({**manifest, "spec_hash": spec.hash()}))

    def spec(self) -> RunSpec:
        return read_spec(self.path)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held while a process writes here; a second one is refused."""
        with locked(self.path):
            yield

    # --- steps ------------------------------------------------------------------------------------------------

    def steps(self) -> list[dict[str, Json]]:
        """The recorded steps, oldest first. Raises RunError naming a line that cannot be read."""
        whole, damaged = self._read_steps()
        if damaged:
            raise RunError(damaged)
        return [json.loads(line) for line in whole.values()]

    def recorded(self) -> Collection[int]:
        """The steps that have a record."""
        return self._read_steps()[0].keys()

    def _read_steps(self) -> tuple[dict[int, str], str]:
        """(step -> its line, up to the first that cannot be read; what is wrong with that one, "" if nothing)."""
        path, lines = self.path / "steps.jsonl", dict[int, str]()
        if not path.exists():
            return lines, ""
        for k, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                text = line.decode()
                lines[int(json.loads(text)["step"])] = text
            except (ValueError, KeyError, TypeError) as error:
                after = max(lines, default=-1) + 1
                return lines, (
                    f"{path}, line {k}, cannot be read ({type(error).__name__}). Remove every checkpoint after "
                    f"{self.checkpoints / f'step-{after:06d}'} (or the whole of {self.path}), and run the same "
                    "command: it plays again from there."
                )
        return lines, ""

    def drop(self, step: int) -> None:
        """Forget every record from ``step`` on. Raises RunError where an earlier one is damaged."""
        lines, damaged = self._read_steps()
        if damaged:
            if max(lines, default=-1) + 1 < step:
                raise RunError(damaged)
            notice("damaged record dropped", why=damaged.partition(" Remove ")[0], steps_from=step)
        self._lines = {k: line for k, line in lines.items() if k < step}
        self._write_steps()
        for kind in ("rollouts", "scores"):
            for shard in (self.path / kind).glob("step-*.parquet"):
                if int(shard.stem.removeprefix("step-")) >= step:
                    shard.unlink()

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        """Keep a closed step: shards first, so that a line in steps.jsonl means that its shards are there.

        Keeping a step again (after a failure on the way) replaces it: nothing is doubled.
        """
        if self._lines is None:
            self._lines = {s["step"]: json.dumps(s, sort_keys=True) for s in self.steps()}
        name = f"step-{metrics.step:06d}.parquet"
        if scored:
            write_shard(self.path / "rollouts" / name, [rollout_row(s) for s in scored])
            write_shard(self.path / "scores" / name, [score_row(s) for s in scored])
        self._lines[metrics.step] = json.dumps(metrics.json(), sort_keys=True, allow_nan=False)
        self._write_steps()
        self.note({"step": metrics.step, **timings})
        self.observe(metrics)

    def _write_steps(self) -> None:
        lines = [line for _, line in sorted((self._lines or {}).items())]
        write_whole(self.path / "steps.jsonl", "".join(line + "\n" for line in lines).encode())

    def note(self, line: Mapping[str, Json]) -> None:
        """Append to ``timings.jsonl``, the only file that may differ: seconds, and what was overcome."""
        path = self.path / "timings.jsonl"
        with writing(path), path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    # --- evaluations ------------------------------------------------------------------------------------------

    def evals(self, game: str) -> Path:
        """Where the evaluations on a game lie."""
        return self.path / "eval" / label(game)

    def eval_dir(self, game: str, split: Split, checkpoint: str) -> Path:
        return self.evals(game) / f"{split}-{checkpoint}"

    def write_eval(self, game: str, split: Split, checkpoint: str, scored: Sequence[Scored], summary: Summary) -> None:
        """Keep an evaluation; ``metrics.json`` comes last and says that it is whole."""
        directory = self.eval_dir(game, split, checkpoint)
        write_shard(directory / "rollouts.parquet", [rollout_row(s) for s in scored])
        write_shard(directory / "scores.parquet", [score_row(s) for s in scored])
        write_whole(directory / "metrics.json", to_json(asdict(summary)))

    def read_eval(self, game: str, split: Split, checkpoint: str) -> Summary | None:
        path = self.eval_dir(game, split, checkpoint) / "metrics.json"
        return read_summary(path) if path.exists() else None


def read_summary(path: Path) -> Summary:
    """An evaluation's ``metrics.json``. Raises RunError naming one that cannot be read."""
    try:
        data = json.loads(path.read_bytes())
        for key in ("scores", "rates"):
            data[key] = {name: Estimate.read(e) if e else None for name, e in data[key].items()}
        return Summary(**data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}). Remove {path.parent} and run the same command: "
            "it evaluates again."
        ) from error


def read_spec(path: Path) -> RunSpec:
    """The spec of a run directory. Raises UsageError where there is none, or another version wrote it."""
    import tomllib

    file = path / "run.toml"
    try:
        spec = RunSpec.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path} is no run directory (no run.toml). Name one, such as runs/…/loophole-s0.") from error
    except ValueError as error:
        raise UsageError(
            f"{file} cannot be read by this version of loopkit: {error}. Restore it, use the version that wrote it, "
            f"or remove {path} and run the same command to make the run anew."
        ) from error
    if spec.schema_version != SCHEMA:
        raise UsageError(
            f"{file} has schema {spec.schema_version}; this version of loopkit reads {SCHEMA}. "
            "Use the version that wrote it, or start a new --out."
        )
    return spec


def check_same(path: Path, old: Mapping[str, Json], new: Mapping[str, Json]) -> None:
    """Refuse a directory made by another spec, with the difference."""
    before, after = flat(_no_none(old)), flat(_no_none(new))
    changed = [k for k in sorted({*before, *after}) if before.get(k) != after.get(k)]
    if changed:
        shown = "; ".join(f"{k}: {before.get(k)!r} there, {after.get(k)!r} now" for k in changed[:8])
        cure = "Use the same options to resume it, or another --out."
        if is_file(str(new.get("game", ""))):
            cure += {
                "game": " A game's file is named as it was then, from the directory in which the run was begun.",
                "game_version": " The game's file, or one that it imports, was edited: bring that code back to resume.",
            }.get(next(iter({"game", "game_version"} & {*changed}), ""), "")
        raise UsageError(f"{path} was made by another spec ({shown}). Nothing was changed. {cure}")


def flat(data: Json, prefix: str = "") -> dict[str, Json]:
    """Nested tables as one, with dotted names."""
    if isinstance(data, dict) and (data or not prefix):  # an empty table is a value: an arm without options, say
        return {k: v for key, value in data.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    return {prefix[:-1]: data}


def _no_none(data: Json) -> Any:
    """TOML has no null; an absent key is None."""
    if isinstance(data, dict):
        return {k: _no_none(v) for k, v in data.items() if v is not None}
    return [_no_none(v) for v in data] if isinstance(data, list) else data


# --- shards ---------------------------------------------------------------------------------------------------


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
        "finish": [t.finish for t, _ in r.steps],
        "tokens": [None if t.ids is None else len(t.ids) for t, _ in r.steps],
        "replies": [
            json.dumps({"done": isinstance(m, Done), "state": m.state, **({} if isinstance(m, Done) else m.wire())})
            for _, m in r.steps
        ],
    }


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


def write_shard(path: Path, rows: Sequence[Mapping[str, Json]]) -> None:
    """Rows as Parquet. Column types come from the names, so that an all-None column keeps its type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for row in rows for name in row))
    schema = pa.schema([(name, _type(pa, name)) for name in names])
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    write_whole(path, buffer.getvalue().to_pybytes())


def _type(pa: Any, name: str) -> Any:
    kind = name.split(".", 1)[0]
    if kind in ("score", "signal", "reward"):
        return pa.float64()
    if kind == "flag":
        return pa.bool_()
    if name in ("said", "finish", "replies"):
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
        for text, finish, reply in zip(row["said"], row["finish"], row["replies"], strict=True):
            data = json.loads(reply)
            answer = Done(data["state"]) if data["done"] else Message.read(data)
            steps.append((Turn(text, finish), answer))
        id_ = f"{row['slot']}/{row['name']}"
        out.append((Rollout(id_, tasks[row["task"]], tuple(steps), row["seed"]), row["occurrence"]))
    return out


def shards(path: Path) -> list[tuple[int, Path]]:
    """(step, file) of a folder's shards, in order."""
    found = [(int(m[1]), p) for p in path.glob("*.parquet") if (m := re.fullmatch(r"step-(\d+)\.parquet", p.name))]
    return sorted(found)
