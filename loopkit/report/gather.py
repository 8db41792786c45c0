"""What a report is made of, read from run directories: experiments, their runs, and studies. Writes nothing.

Unfinished and failed runs are included, with their state.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from loopkit.contracts import Game
from loopkit.errors import LoopkitError, RunError, UsageError
from loopkit.evidence.onsets import path as path_of
from loopkit.evidence.onsets import rates_of
from loopkit.evidence.schema import ExperimentResults, StudyResults
from loopkit.evidence.schema import read as read_results
from loopkit.experiment import digests
from loopkit.experiment.config import BASE, Experiment, RunSpec
from loopkit.experiment.resolve import build_game
from loopkit.experiment.rundir import RunDir, checkpoint_of, read_spec
from loopkit.experiment.verifying import NOT_VERIFIABLE, verify
from loopkit.records import Json, Task
from loopkit.registry.plugins import Plugins
from loopkit.rollouts.metrics import Summary
from loopkit.running.runner import ERROR
from loopkit.stats.onset import Discovery

TUNING = "tuning.md"
"""What the user keeps beside ``experiment.toml`` of the configurations tried."""


@dataclass(frozen=True)
class RunData:
    """One run (arm x seed). ``state`` is "done", "running", "failed" or "waiting"."""

    path: Path
    spec: RunSpec
    manifest: Mapping[str, Json]
    steps: Sequence[Mapping[str, Json]]
    summary: Summary | None
    """The held-out evaluation; None before there is one."""
    state: str
    error: str
    events: Sequence[Mapping[str, Json]]
    """What was overcome on the way (``timings.jsonl``)."""
    files: str = ""
    """When digests of its files were taken: "as written", "afterwards", or "not verifiable": never."""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def trained(self) -> bool:
        return self.spec.arm != BASE


@dataclass(frozen=True)
class Tasks:
    """The prompts of a game, which records hold by name only. ``why`` says why there are none."""

    game: Game | None
    why: str = ""
    _found: dict[str, Mapping[str, Task]] = field(default_factory=dict)

    def prompt(self, split: str, task: str) -> list[tuple[str, str]] | None:
        """(role, text) of a task's opening messages; None where it is not known. Secrets are never read."""
        known = self.of(split).get(task)
        return None if known is None else [(m.role, m.content) for m in known.messages]

    def of(self, split: str) -> Mapping[str, Task]:
        """A split's tasks by their id; none where the game is not known."""
        if self.game is None:
            return {}
        if split not in self._found:
            self._found[split] = {t.id: t for t in self.game.tasks(split)}  # type: ignore[arg-type]
        return self._found[split]


@dataclass(frozen=True)
class ExperimentData:
    """An experiment's directory."""

    path: Path
    name: str
    asked: Experiment | None
    results: ExperimentResults | None
    """``results.json``; None while a run is missing."""
    runs: Sequence[RunData]
    tasks: Tasks
    tuning: str

    @cached_property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(r.spec.arm for r in self.runs))

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({r.spec.seed for r in self.runs})

    @property
    def spec(self) -> RunSpec:
        return self.runs[0].spec

    @cached_property
    def detectors(self) -> list[str]:
        """Names of the detectors, headline first where that is known."""
        trained = [name for run in self.runs for step in run.steps[:1] for name in step.get("rates", {})]
        names = dict.fromkeys([*trained, *(n for run in self.runs if run.summary for n in run.summary.rates)])
        game = self.tasks.game
        first = [self.results.headline] if self.results else list(game.detectors) if game else []
        return [n for n in dict.fromkeys([*first, *names]) if n in names or not names]

    @property
    def headline(self) -> str | None:
        return self.detectors[0] if self.detectors else None

    @property
    def onset_detector(self) -> str | None:
        """The detector that onset and domination use."""
        if self.results:
            return self.results.onset_detector
        game = self.tasks.game
        return (game.reporting.onset_detector if game else None) or self.headline

    def discovery(self, run: RunData) -> Discovery | None:
        """Onset and domination of a run, of results.json or, before there is one, of the steps so far, against base."""
        if self.results:
            return next((r.discovery for r in self.results.of(run.spec.arm) if r.seed == run.spec.seed), None)
        name, game = self.onset_detector, self.tasks.game
        base = next(
            (r.summary for r in self.runs if not r.trained and r.spec.seed == run.spec.seed and r.summary), None
        )
        if not run.trained or base is None or game is None or name is None or name not in game.detectors:
            return None
        rates = rates_of(run.steps, name)
        padded = [*rates, *[None] * (run.spec.run.steps - len(rates))]
        return path_of(padded, base.rates.get(name), game.detectors[name].bounds[0])

    @property
    def finished(self) -> bool:
        return all(r.state == "done" for r in self.runs)


@dataclass(frozen=True)
class StudyData:
    """A study's directory: its ``results.json`` (docs/results.md), and the experiments its runs lie in."""

    path: Path
    results: StudyResults
    experiments: Mapping[Path, set[str]]
    """Directory -> names of the runs there that the study rests on; other studies' may lie beside them."""


Source = ExperimentData | StudyData


def gather(directories: Sequence[Path], plugins: Plugins) -> list[Source]:
    """Studies first, then experiments, each once. Raises UsageError naming a directory that is neither."""
    studies: dict[Path, StudyData] = {}
    experiments: dict[Path, tuple[Path, set[str]]] = {}
    whole: dict[Path, tuple[Path, set[str]]] = {}
    for directory in directories:
        for inner in _inside(directory):
            if (study := _study(inner)) is not None:
                studies[inner.resolve()] = study
                for path, names in study.experiments.items():  # of a shared directory, the runs it rests on
                    experiments.setdefault(path.resolve(), (path, set()))[1].update(names)
            elif (inner / "run.toml").exists():
                _, names = experiments.setdefault(inner.resolve().parent, (inner.parent, set()))
                names.add(inner.name)
            else:
                whole[inner.resolve()] = (inner, set())
    read = [_experiment(path, only, plugins) for path, only in {**experiments, **whole}.values()]
    return [*studies.values(), *_named([e for e in read if e is not None])]


def _inside(directory: Path) -> list[Path]:
    """The study, experiment or run that a directory is, or those it holds."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory. Give an experiment's, as `loopkit run` wrote it.")
    if any((directory / n).exists() for n in ("experiment.toml", "run.toml", "study.toml", "results.json")):
        return [directory]
    if any(directory.glob("*/run.toml")):
        return [directory]
    inner = sorted({p.parent for pattern in ("*/experiment.toml", "*/study.toml") for p in directory.glob(pattern)}
                   | {p.parent.parent for p in directory.glob("*/*/run.toml")})  # fmt: skip
    if not inner:
        raise UsageError(
            f"{directory} holds no run, experiment or study of loopkit's. Give the --out of `loopkit run`."
        )
    return inner


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise RunError(
            f"{path} cannot be read ({error}). Run the experiment's command again: it is made anew."
        ) from error


def _study(directory: Path) -> StudyData | None:
    file = directory / "results.json"
    results = read_results(file) if file.exists() else None
    if not isinstance(results, StudyResults):
        return None
    runs: dict[Path, set[str]] = {}
    for run in results.directories(directory):
        runs.setdefault(run.parent, set()).add(run.name)
    return StudyData(directory, results, {path: names for path, names in runs.items() if path.is_dir()})


def _experiment(path: Path, only: set[str], plugins: Plugins) -> ExperimentData | None:
    """None of a directory whose runs have not begun. ``only``: these of its runs (empty: all)."""
    asked, file = None, path / "experiment.toml"
    if file.exists():
        try:
            asked = Experiment.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except ValueError as error:
            raise UsageError(f"{file} cannot be read: {error}. Restore it.") from error
    folders = {p.parent for name in digests.SINGLE for p in path.glob(f"*/{name}")}  # one without its spec is a hole
    runs = [_run(folder) for folder in sorted(folders) if not only or folder.name in only]
    if not runs:
        return None
    order = [BASE, *(asked.arms if asked else ())]
    runs.sort(key=lambda r: (order.index(r.spec.arm) if r.spec.arm in order else len(order), r.spec.arm, r.spec.seed))
    results = read_results(path / "results.json") if (path / "results.json").exists() and not only else None
    assert not isinstance(results, StudyResults)  # gathered as a study
    verify(results.directories(path) if results else ())
    spec = runs[0].spec
    try:
        game = build_game(plugins, spec.game, spec.game_options)
        tasks = Tasks(game)
        if type(game).version != spec.game_version:
            tasks = Tasks(None, f"the game has version {type(game).version} now, the runs had {spec.game_version}")
    except LoopkitError as error:
        tasks = Tasks(None, str(error))
    tuning = path / TUNING
    return ExperimentData(
        path, path.resolve().name, asked, results, runs, tasks,
        tuning.read_text(encoding="utf-8", errors="replace") if tuning.exists() else "",
    )  # fmt: skip


def _named(experiments: Sequence[ExperimentData]) -> list[ExperimentData]:
    """With names that tell them apart."""
    seen: dict[str, int] = {}
    out = []
    for e in experiments:
        seen[e.name] = seen.get(e.name, 0) + 1
        name = e.name if seen[e.name] == 1 else f"{e.name} ({seen[e.name]})"
        out.append(ExperimentData(e.path, name, e.asked, e.results, e.runs, e.tasks, e.tuning))
    return out


def _run(path: Path) -> RunData:
    run, spec = RunDir(path), read_spec(path)
    verify([path])
    summary = run.read_eval(spec.game, spec.run.eval_split, checkpoint_of(spec))
    error = (path / ERROR).read_text(encoding="utf-8", errors="replace") if (path / ERROR).exists() else ""
    steps = run.steps()
    state = "done" if summary else "failed" if error else "running" if steps or not spec.run.steps else "waiting"
    manifest = path / "manifest.json"
    return RunData(
        path, spec, _json(manifest) if manifest.exists() else {}, steps, summary,
        state, error, _events(path / "timings.jsonl"), known.taken if (known := digests.read(path)) else NOT_VERIFIABLE,
    )  # fmt: skip


def _events(path: Path) -> list[Mapping[str, Json]]:
    if not path.exists():
        return []
    out: list[Mapping[str, Json]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line_read = json.loads(line)
        except ValueError:
            continue  # appended to without a rename: the last line may be half
        if isinstance(line_read, dict) and "event" in line_read:
            out.append(line_read)
    return out
