"""Whether runs are what was written, before a number of theirs is shown, or a word of theirs learned from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from loopkit.errors import RunError
from loopkit.experiment import digests
from loopkit.experiment.config import BASE
from loopkit.experiment.rundir import RunDir, read_summary
from loopkit.experiment.shards import read_shard

NOT_VERIFIABLE = "not verifiable"
FEW = 3
"""Damaged runs whose files are named."""


def verify(runs: Iterable[Path]) -> None:
    """Raise RunError, naming each file of these runs that is missing, not what was written, or another run's."""
    errors, runs = [], list(runs)
    if any(run.is_dir() for run in runs):  # else it is a results.json that was taken elsewhere by itself
        errors += [f"{run} is missing. {digests.restore(run)}" for run in runs if not run.is_dir()]
    for run in runs:
        if run.is_dir():
            try:
                digests.refuse(run, found := damage(run), cure(run, found))
            except RunError as error:
                errors.append(str(error))
    if errors:
        more = f" And {len(errors) - FEW} more runs." if len(errors) > FEW else ""
        raise RunError(" ".join(errors[:FEW]) + more)


def damage(run: Path, *, whole: bool = False) -> list[str]:
    """What is wrong with a run's files. ``whole``: see ``digests.damage``.

    Of a run that is not finished its checkpoints are left out: it makes anew what is not whole. Of one without digests,
    only what a finished run must have is looked for.
    """
    known = digests.read(run)
    if known is None:
        return _holes(run)
    found = digests.damage(run, known, lambda name: known.finished or not name.startswith("checkpoints/"), whole=whole)
    try:
        RunDir(run).steps()
    except RunError as error:
        found.append(_briefly(run, error))
    if found and known != digests.read(run):
        return damage(run, whole=whole)  # the run went on while we read
    return found


def cure(run: Path, found: Iterable[str]) -> str:
    """What mends it, where that is less than to make the run anew."""
    folders = {name.partition("/")[0] for name in found}
    if folders == {"scores"}:
        return f"Restore it from a copy, or rebuild it from what was said: loopkit rescore {run}"
    if folders == {"eval"}:
        return f"Restore it from a copy, or remove {run}/eval and run the same command: it evaluates again."
    return ""


def unverifiable(runs: Iterable[Path]) -> list[Path]:
    """Those of the runs that were begun without digests."""
    return [run for run in runs if run.is_dir() and digests.read(run) is None]


def seal(run: Path) -> int:
    """Take digests of a run as it is now; returns of how many files. Raises RunError where it has holes."""
    digests.refuse(run, _holes(run))
    lines, ended = RunDir(run).lines_as_they_are(), (_evaluation(run) / "metrics.json").exists()
    return len(digests.take(run, lines, ended).files)


def _evaluation(run: Path) -> Path:
    """The folder of a run's own evaluation, which comes last."""
    kept = RunDir(run)
    return kept.own_eval_dir(kept.spec())


def _holes(run: Path) -> list[str]:
    """What a finished run lacks: a step, or a row of its evaluation."""
    directory, evaluation, found = RunDir(run), _evaluation(run), []
    if not (evaluation / "metrics.json").exists():
        return []
    n = read_summary(evaluation / "metrics.json").n
    for file in (evaluation / "rollouts.parquet", evaluation / "scores.parquet"):
        name = file.relative_to(run).as_posix()
        if not file.exists():
            found.append(f"{name} is missing")
        elif (rows := len(read_shard(file))) != n:
            found.append(f"{name} has {rows} rows for {n}")
    spec = directory.spec()
    try:
        steps = len(directory.lines_as_they_are())
        if spec.arm != BASE and steps != spec.run.steps:
            found.append(f"steps.jsonl has {steps} of {spec.run.steps} steps")
    except RunError as error:
        found.append(_briefly(run, error))
    return found


def _briefly(run: Path, error: RunError) -> str:
    return str(error).removeprefix(f"{run}/").partition(". ")[0]
