"""``loopkit.study``: a designed set of experiments, from plan to what it shows. The command line calls the same."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import BASE, VerdictSettings, parse_seeds, validate
from loopkit.front.asked import Names, Options, Seeds, names_of, seeds_text, tables_of
from loopkit.front.directories import claim_study
from loopkit.front.progress import Progress, counted, listening
from loopkit.front.studied import StudyResult
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.running.parallel import DEADLINE, Job, require_deadline, start_server
from loopkit.running.runner import Event
from loopkit.studies.grid import Grid, merged
from loopkit.studies.study import Study
from loopkit.studies.study import perform as perform_study

STUDIES = {
    "paper": "loopkit.studies.paper:Paper",
    "transfer": "loopkit.studies.transfer:Transfer",
    "catalysis": "loopkit.studies.catalysis:Catalysis",
    "propagation": "loopkit.studies.propagation:Propagation",
    "persistence": "loopkit.studies.persistence:Persists",
    "dose": "loopkit.studies.dose:Dose",
    "algorithms": "loopkit.studies.algorithms:Algorithms",
    "conditions": "loopkit.studies.conditions:Conditions",
    "mitigations": "loopkit.studies.mitigations:Mitigations",
    "sensitivity": "loopkit.studies.sensitivity:Sensitivity",
    "fixes": "loopkit.studies.fixes:Fixes",
}
SECTIONS = ("study", "game", "trainer", "run", "verdict")


@dataclass(frozen=True)
class StudyPlan:
    """A study whose names and options are checked; it has made nothing yet."""

    study: Study
    name: str
    out: Path
    """Where its own files go; its runs lie beside it."""
    asked: dict[str, Json]
    jobs: int

    def runs(self) -> Iterator[tuple[int, Job]]:
        """(stage from 1, run) of each run that it rests on."""
        return ((k, job) for k, stage in enumerate(self.study.plan(), 1) for job in merged(stage))

    def rows(self) -> list[dict[str, Json]]:
        """The runs as plain dicts: what each costs, and whether it exists."""
        return [_planned(stage, job) for stage, job in self.runs()]

    def cost(self) -> tuple[int, float, float]:
        """(runs, wall seconds of their own, CPU seconds) of what is finished."""
        runs = merged([job for _, job in self.runs()])
        return (len(runs), *self.study.grid.cost(runs))

    def perform(self, deadline: float = DEADLINE, progress: Progress = None) -> StudyResult:
        """Make the runs that are missing, and write what they show. The same call again resumes."""
        require_deadline(deadline)
        claim_study(self.out, self.asked)
        total, ended = sum(1 for _ in self.runs()), set[str]()
        with listening(progress) as listen:

            def tell(event: Event) -> None:
                listen(event)
                if event.phase in ("done", "failed"):
                    ended.add(event.run)
                    listen(Event(f"study {self.name}", "runs", len(ended), total))

            options = {"options": self.asked["options"], "settings": self.asked["settings"]}
            results = perform_study(
                self.study, self.out, options, self.jobs, tell, lambda name, phase: counted(listen, name, phase),
                deadline,
            )  # fmt: skip
        return StudyResult(self.out, results)


def plan(
    name: str,
    games: Names | None = None,
    seeds: Seeds | None = None,
    model: str = "tiny",
    trainer: str = "grpo",
    options: Options = (),
    out: str | Path = "runs",
    jobs: int | None = None,
    *,
    begin: bool = False,
) -> StudyPlan:
    """The plan of a study. ``begin``: it is about to be performed, so what takes seconds to load is started."""
    if name not in STUDIES:
        raise UsageError(f"no study {name!r}. {nearest(name, STUDIES)}")
    if begin:
        start_server()
    module, _, attribute = STUDIES[name].partition(":")
    cls: type[Study] = getattr(importlib.import_module(module), attribute)
    plugins, tables = registry.load(), tables_of(options, SECTIONS)
    study_options = validate(cls.Options, tables.pop("study", {}), f"study {name}")
    validate(VerdictSettings, tables.get("verdict", {}), "verdict")
    chosen = tuple(names_of(games)) if games is not None else cls.preset_games(study_options)
    if not chosen or len(set(chosen)) < len(chosen):
        raise UsageError("--games names no game, or one twice. Write --games context-compliance,self-grading.")
    chosen = tuple(map(plugins.game_name, chosen))
    for game in chosen:
        plugins.game(game)
    wanted = tuple(parse_seeds(cls.seeds if seeds is None else seeds_text(seeds)))
    study = cls(Grid(plugins, Path(out), chosen, wanted, model, trainer, tables), study_options)
    asked: dict[str, Json] = {
        "study": name,
        "games": list(study.grid.games),
        "seeds": list(study.grid.seeds),
        "model": model,
        "trainer": trainer,
        "options": study.options.model_dump(mode="json"),
        "settings": {k: dict(v) for k, v in study.grid.settings.items()},
    }
    return StudyPlan(study, name, Path(out) / f"study-{name}-{_hash(asked)}", asked, jobs or os.cpu_count() or 1)


def study(
    name: str,
    games: Names | None = None,
    seeds: Seeds | None = None,
    model: str = "tiny",
    trainer: str = "grpo",
    *,
    options: Options = (),
    out: str | Path = "runs",
    jobs: int | None = None,
    deadline: float = DEADLINE,
    progress: Progress = None,
) -> StudyResult:
    """Make a designed set of experiments ("paper", "transfer", "dose", ...) and say what it shows.

    As ``loopkit study``: the same names, defaults and bytes; the same call again resumes. Studies under one ``out``
    share their runs. ``options``: as with ``--set``, ``{"study.knob": "threshold", "run.steps": 20}``.
    """
    return plan(name, games, seeds, model, trainer, options, out, jobs, begin=True).perform(deadline, progress)


def _hash(asked: dict[str, Json]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def _planned(stage: int, job: Job) -> dict[str, Json]:
    spec = job.spec
    steps = 0 if spec.arm == BASE else spec.run.steps
    return {
        "stage": stage,
        "run": job.name,
        "pays": "-" if spec.arm == BASE or spec.rollouts else spec.channel,
        "trainer": "-" if spec.arm == BASE else spec.trainer,
        "starts from": spec.model,
        "steps": steps,
        "rollouts": 0 if spec.rollouts else steps * spec.run.prompts_per_step * spec.run.group_size,
        "evaluated": spec.run.eval_prompts + sum(e.spec.run.eval_prompts for e in job.further),
        "exists": job.finished(),
    }
