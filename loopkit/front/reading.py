"""``loopkit.read``: a finished experiment or study from its directory."""

from __future__ import annotations

import json
from pathlib import Path

from loopkit.errors import UsageError
from loopkit.experiment.verifying import verify
from loopkit.front.outcome import Result, read_results
from loopkit.front.studied import StudyResult
from loopkit.records import Json
from loopkit.studies import schema


def read(directory: str | Path) -> Result | StudyResult:
    """The result of a finished experiment or study: what ``loopkit.run`` or ``loopkit.study`` returned.

    Raises UsageError of a directory that holds none, or one that is not finished; RunError of a damaged one, naming
    each file of its runs that is not what was written.
    """
    path = Path(directory)
    file = path / "results.json"
    if not file.exists():
        raise UsageError(_why_not(path))
    try:
        kind = json.loads(file.read_bytes()).get("kind")
    except (ValueError, AttributeError):
        kind = None  # the reader below says what is wrong
    result = StudyResult(path, schema.read(file)) if kind == "study" else Result(path, read_results(file))
    verify(result.runs())
    return result


def finished_results(directory: Path) -> dict[str, Json]:
    """What a finished experiment's ``results.json`` holds. Raises UsageError where there is none."""
    if not (directory / "results.json").exists():
        raise UsageError(_why_not(directory))
    return read_results(directory / "results.json")


def _why_not(path: Path) -> str:
    if not path.is_dir():
        return f"{path} is no directory. Give an experiment's or a study's."
    if (path / "run.toml").exists():
        return f"{path} is one run of an experiment. Read its experiment: {path.parent}."
    if (path / "experiment.toml").exists() or (path / "study.toml").exists():
        return f"{path} is not finished: it has no results.json. Run the same command, or the same call, to finish it."
    return f"{path} holds no experiment or study of loopkit's (no results.json). Give the --out of `loopkit run`."
