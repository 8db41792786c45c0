"""``loopkit.read``: a finished experiment or study from its directory."""

from __future__ import annotations

from pathlib import Path

from loopkit.errors import UsageError
from loopkit.evidence import schema
from loopkit.evidence.schema import ExperimentResults, StudyResults
from loopkit.experiment.verifying import verify
from loopkit.front.outcome import Result
from loopkit.front.studied import StudyResult


def read(directory: str | Path) -> Result | StudyResult:
    """The result of a finished experiment or study: what ``loopkit.run`` or ``loopkit.study`` returned.

    Raises UsageError of a directory that holds none, or one that is not finished; RunError of a damaged one, naming
    each file of its runs that is not what was written.
    """
    path = Path(directory)
    file = path / "results.json"
    if not file.exists():
        raise UsageError(_why_not(path))
    results = schema.read(file)
    result = StudyResult(path, results) if isinstance(results, StudyResults) else Result(path, results)
    verify(result.runs())
    return result


def finished_results(directory: Path) -> ExperimentResults:
    """What a finished experiment's ``results.json`` holds. Raises UsageError if there is none, or it is a study's."""
    if not (directory / "results.json").exists():
        raise UsageError(_why_not(directory))
    results = schema.read(directory / "results.json")
    if isinstance(results, StudyResults):
        raise UsageError(f"{directory} is a study's. Give the directory of one of its experiments, beside it.")
    return results


def _why_not(path: Path) -> str:
    if not path.is_dir():
        return f"{path} is not a directory. Give an experiment's or a study's."
    if (path / "run.toml").exists():
        return f"{path} is one run of an experiment. Read its experiment: {path.parent}."
    if (path / "experiment.toml").exists() or (path / "study.toml").exists():
        return f"{path} is not finished: it has no results.json. Run the same command, or the same call, to finish it."
    return f"{path} holds no experiment or study of loopkit's (no results.json). Give the --out of `loopkit run`."
