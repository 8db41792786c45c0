"""The scheme ``run:``: start from another run's policy, ``run:runs/…/loophole-s0`` or one of its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError
from loopkit.experiment.config import BASE, RunSpec
from loopkit.experiment.resolve import start_policy
from loopkit.experiment.rundir import read_spec
from loopkit.registry.plugins import Plugins


def start_from(argument: str, spec: RunSpec, plugins: Plugins, progress: Callable[[int, int], None]) -> PolicyRef:
    """The policy that a run ended with, or the named checkpoint. Raises UsageError where it is not there yet."""
    from loopkit.policy.save import reference, require_whole

    run, checkpoint = parts(Path(argument))
    source = read_spec(run)
    start: PolicyRef = start_policy(source, plugins, progress)
    if source.arm == BASE:
        return start
    if not checkpoint.is_dir():
        raise UsageError(
            f"--model run:{argument}: {checkpoint} does not exist, so there is no policy to start from. Finish that "
            "run first (the same command resumes it), or name one of its checkpoints."
        )
    require_whole(checkpoint)
    return reference(checkpoint, start)


def parts(path: Path) -> tuple[Path, Path]:
    """(run directory, checkpoint) of the path of a run (its last step's checkpoint) or of a checkpoint."""
    if path.parent.name == "checkpoints":
        return path.parent.parent, path
    return path, path / "checkpoints" / f"step-{read_spec(path).run.steps:06d}"
