"""A run's directory: what made it, what was said, and how it was scored. Every file is written whole and renamed.

run.toml        the resolved spec                 manifest.json   versions, plugin origins, git, spec hash
steps.jsonl     one StepMetrics a line            digests.json    what all other files are known by
                                                  timings.jsonl   the only file that may differ between replays
rollouts/step-000042.parquet   what was said      scores/step-000042.parquet   what was made of it (derived)
checkpoints/    the trainer's                     eval/<game>/<split>-<checkpoint>/
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from loopkit.contracts import Split
from loopkit.errors import RunError, UsageError
from loopkit.experiment import digests
from loopkit.experiment.config import BASE, SCHEMA, RunSpec
from loopkit.experiment.digests import Digests
from loopkit.experiment.shards import asking_row, rollout_row, score_row, shards, write_shard
from loopkit.records import Estimate, Json, Scored, StepMetrics
from loopkit.registry.files import is_file, label
from loopkit.rollouts.metrics import Summary
from loopkit.system.files import TEMPORARY, locked, to_json, write_whole, writing
from loopkit.system.notices import notice

OTHER_OPTIONS = "-options"
"""In the name of an evaluation: the game was played with other options than the run's own."""


class RunDir:
    """Opens (or makes) a run's directory and is the recorder of its referee."""

    def __init__(
        self, path: Path, observe: Callable[[StepMetrics], None] = lambda metrics: None, *, prompts: bool = False
    ) -> None:
        """``prompts``: keep them in every row, since no game can be asked for them."""
        self.path = path
        self.observe = observe
        self._rollout_row = asking_row if prompts else rollout_row
        self._lines: dict[int, str] | None = None

    # --- identity ---------------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def belongs_to(self, spec: RunSpec) -> bool:
        """Whether the directory is this spec's; False if it is new. Another spec's is refused, with the difference."""
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
        if (self.path / "manifest.json").exists() or (self.path / "steps.jsonl").exists():
            self._refuse_identity()
        else:
            written, known = to_json({**manifest, "spec_hash": spec.hash(), digests.KEPT: 1}), Digests(spec.hash())
            known.put("run.toml", (self.path / "run.toml").read_bytes())
            known.put("manifest.json", written)
            known.write(self.path)  # before the manifest, which says that it is there
            write_whole(self.path / "manifest.json", written)

    def _refuse_identity(self) -> None:
        """Raise RunError where the spec or the manifest is not what was written."""
        if not (self.path / "manifest.json").exists():
            raise RunError(f"{self.path}/manifest.json is missing. {digests.restore(self.path)}")
        if (known := digests.read(self.path)) is not None:
            digests.refuse(self.path, digests.damage(self.path, known, lambda name: name in digests.SINGLE))

    def spec(self) -> RunSpec:
        return read_spec(self.path)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held while a process writes here; a second one is refused."""
        with locked(self.path):
            yield

    # --- steps ------------------------------------------------------------------------------------------------

    def steps(self) -> list[dict[str, Json]]:
        """The recorded steps, oldest first. Raises RunError naming a line that is not what was written."""
        return [json.loads(line) for line in self.lines().values()]

    def lines(self) -> dict[int, str]:
        """Step -> its line in ``steps.jsonl``; raises as ``steps`` does."""
        whole, damaged = self._read_steps()
        if damaged:
            raise RunError(damaged)
        return whole

    def lines_as_they_are(self) -> dict[int, str]:
        """The same, whatever they were known by; raises RunError naming one that cannot be read."""
        lines, damaged = self._whole_lines({})
        if damaged:
            raise RunError(f"{self.path}/steps.jsonl{damaged}.")
        return lines

    def seal(self, *, finished: bool = False) -> None:
        """Know every file by its digest, and bring it to the disk. ``finished``: nothing is to come."""
        digests.add(self.path, finished=finished)

    def recorded(self) -> Collection[int]:
        """The steps that have a record."""
        return self._read_steps()[0].keys()

    def _read_steps(self) -> tuple[dict[int, str], str]:
        """(step -> its line, up to the first that is not what was written; what is wrong with that one, "" if nothing).

        Lines that are not known yet are read as they are: the run is going on, or was killed in between.
        """
        known = digests.read(self.path)
        lines, damaged = self._whole_lines({} if known is None else known.steps)
        if not damaged and known is not None and (lost := [s for s in sorted(known.steps) if s not in lines]):
            damaged = f"has no line of step {lost[0]}"
            lines = {step: line for step, line in lines.items() if step < lost[0]}
        if not damaged:
            return lines, ""
        after = max(lines, default=-1) + 1
        return lines, (
            f"{self.path / 'steps.jsonl'}{damaged}. Restore it from a copy; or remove every checkpoint after "
            f"{self.checkpoints / f'step-{after:06d}'} (of a finished run, the whole of {self.path}), and run the "
            "same command: it plays again from there."
        )

    def _whole_lines(self, known: Mapping[int, str]) -> tuple[dict[int, str], str]:
        path, lines = self.path / "steps.jsonl", dict[int, str]()
        for k, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), 1):
            try:
                text = line.decode()
                step = int(json.loads(text)["step"])
            except (ValueError, KeyError, TypeError) as error:
                return lines, f", line {k}, cannot be read ({type(error).__name__})"
            if known.get(step, was := digests.line_digest(text)) != was:
                return lines, f", line {k}, is not what was written"
            lines[step] = text
        return lines, ""

    def drop(self, step: int) -> None:
        """Delete every record from ``step`` on. Raises RunError where an earlier one is damaged."""
        lines, damaged = self._read_steps()
        if damaged:
            if max(lines, default=-1) + 1 < step:
                raise RunError(damaged)
            notice("damaged record dropped", why=damaged.partition(" Restore ")[0], steps_from=step)
        if (known := digests.read(self.path)) is not None:
            self._refuse_before(step, known)
            known.steps = {k: v for k, v in known.steps.items() if k < step}
            known.forget(lambda name: _is_of(name, step))
            known.finished = False
            known.write(self.path)
        self._lines = {k: line for k, line in lines.items() if k < step}
        self._write_steps()
        for kind in ("rollouts", "scores"):
            for at, shard in shards(self.path / kind):
                if at >= step:
                    shard.unlink()

    def _refuse_before(self, step: int, known: Digests) -> None:
        """Raise RunError where a record or a checkpoint is damaged from which a run goes on at ``step``."""
        damage = digests.damage(self.path, known, lambda name: (at := digests.step_of(name)) is not None and at < step)
        if damage:
            first = min(at for name in damage if (at := digests.step_of(name)) is not None)
            digests.refuse(self.path, damage, (
                f"Restore it from a copy; or remove every checkpoint after {self.checkpoints / f'step-{first:06d}'} "
                "and run the same command: it plays again from there."
            ))  # fmt: skip

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        """Keep a closed step: shards first, so that a line in steps.jsonl means that its shards are there, and their
        digests last.

        Keeping a step again (after a failure on the way) replaces it: nothing is doubled.
        """
        if self._lines is None:
            self._lines = {s["step"]: json.dumps(s, sort_keys=True) for s in self.steps()}
        known = digests.read(self.path) or Digests()
        name = f"step-{metrics.step:06d}.parquet"
        if scored:
            for kind, row in (("rollouts", self._rollout_row), ("scores", score_row)):
                known.put(f"{kind}/{name}", write_shard(self.path / kind / name, [row(s) for s in scored]))
        line = json.dumps(metrics.json(), sort_keys=True, allow_nan=False)
        self._lines[metrics.step], known.steps[metrics.step] = line, digests.line_digest(line)
        self._write_steps()
        if (self.path / digests.FILE).exists():
            known.write(self.path)
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

    def evaluations(self, game: str) -> list[Path]:
        """The folders of the evaluations on a game that are whole."""
        known = digests.read(self.path)
        files = sorted(self.evals(game).glob("*/metrics.json"))
        return [p.parent for p in files if known is None or p.relative_to(self.path).as_posix() in known.files]

    def eval_dir(self, game: str, split: Split, checkpoint: str) -> Path:
        return self.evals(game) / f"{split}-{checkpoint}"

    def own_eval_dir(self, spec: RunSpec) -> Path:
        """Where the run's own evaluation lies, which comes last; ``spec``: its own."""
        return self.eval_dir(spec.game, spec.run.eval_split, checkpoint_of(spec))

    def write_eval(self, game: str, split: Split, checkpoint: str, scored: Sequence[Scored], summary: Summary) -> None:
        """Keep an evaluation; ``metrics.json`` comes last, but for the digests, and says that it is whole."""
        directory = self.eval_dir(game, split, checkpoint)
        here = f"{directory.relative_to(self.path).as_posix()}/"
        if (known := digests.read(self.path)) is not None and any(name.startswith(here) for name in known.files):
            known.forget(lambda name: name.startswith(here))
            known.write(self.path)
        write_shard(directory / "rollouts.parquet", [self._rollout_row(s) for s in scored])
        write_shard(directory / "scores.parquet", [score_row(s) for s in scored])
        write_whole(directory / "metrics.json", to_json(asdict(summary)))
        digests.add(self.path, only=here)

    def read_eval(self, game: str, split: Split, checkpoint: str) -> Summary | None:
        """An evaluation's numbers; None before it is whole. Raises RunError where a file of it is damaged."""
        path = self.eval_dir(game, split, checkpoint) / "metrics.json"
        if not path.exists():
            return None
        if (known := digests.read(self.path)) is not None:
            here = f"{path.parent.relative_to(self.path).as_posix()}/"
            if f"{here}metrics.json" not in known.files:
                return None  # killed before it was known
            damage = digests.damage(self.path, known, lambda name: name.startswith(here))
            digests.refuse(self.path, damage, (
                f"Restore it from a copy, or remove {path.parent} and run the same command: it evaluates again."
            ))  # fmt: skip
        return read_summary(path)

    # --- what is derived --------------------------------------------------------------------------------------

    def damaged(self, file: Path) -> bool:
        """Whether a file is missing, or known and not what was written."""
        known, name = digests.read(self.path), file.relative_to(self.path).as_posix()
        return not file.exists() or (known is not None and bool(digests.damage(self.path, known, name.__eq__)))

    def rebuild(self, file: Path, data: bytes, rollouts: Path) -> None:
        """Write the scores of ``rollouts`` again. Until it is done, the old file and the new one are both known, so
        that a kill in between leaves no damage."""
        known, name = digests.read(self.path), file.relative_to(self.path).as_posix()
        if known is None:
            return write_whole(file, data)
        known.rewriting[name] = digests.known_by(data)
        known.write(self.path)
        write_whole(file, data)
        known.files[name] = known.rewriting.pop(name)
        known.rescored[name] = known.files[rollouts.relative_to(self.path).as_posix()]
        known.write(self.path, durable=True)


def __getattr__(name: str) -> Any:
    """``read_shard`` and others, which were here in 0.1, for one release."""
    if name in ("read_shard", "read_rollouts"):
        warnings.warn(f"{name} is now in loopkit.experiment.shards", DeprecationWarning, 2)
        from loopkit.experiment import shards as moved

        return getattr(moved, name)
    raise AttributeError(name)


def _is_of(name: str, step: int) -> bool:
    """Whether a file is of a step from ``step`` on, or of a trainer that keeps its own beside the checkpoints."""
    at = digests.step_of(name)
    return at >= step if at is not None else name.startswith("checkpoints/")


def checkpoint_of(spec: RunSpec) -> str:
    """The checkpoint a finished run is evaluated at."""
    return "start" if spec.arm == BASE else f"step-{spec.run.steps:06d}"


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
        raise UsageError(
            f"{path} is not a run directory (no run.toml). Name one, such as runs/…/loophole-s0."
        ) from error
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
