"""The grid that a study fills: game x arm x trainer x model x seed -> runs in shared directories, and their records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loopkit.checks import Report
from loopkit.contracts import PolicyRef, Split
from loopkit.errors import RunError
from loopkit.evidence.onsets import path, rates_of
from loopkit.evidence.results import collect
from loopkit.evidence.schema import ExperimentResults
from loopkit.experiment.config import BASE, TRAINED, Experiment, RunSpec, VerdictSettings, validate
from loopkit.experiment.manifest import read_manifest
from loopkit.experiment.resolve import resolve, set_up
from loopkit.experiment.rundir import RunDir, checkpoint_of
from loopkit.records import Estimate, Json
from loopkit.registry.files import label
from loopkit.registry.plugins import Plugins
from loopkit.rollouts.metrics import Summary
from loopkit.rollouts.scoring import Setup
from loopkit.running.parallel import Job
from loopkit.running.runner import Evaluation
from loopkit.stats.onset import Discovery

Settings = Mapping[str, Mapping[str, Json]]
"""Section -> option -> value, as ``--set`` gives them."""


@dataclass
class Grid:
    """What all runs of a study share. ``run`` names one; the rest reads what runs have recorded."""

    plugins: Plugins
    out: Path
    """Root of the runs' directories; studies of one root share them."""
    games: tuple[str, ...]
    seeds: tuple[int, ...]
    model: str = "tiny"
    trainer: str = "grpo"
    settings: Settings = field(default_factory=dict)
    checked: dict[str, Report] = field(default_factory=dict)
    """Game -> what ``check_game`` answered."""
    _resolved: dict[str, RunSpec] = field(default_factory=dict)
    _setups: dict[str, Setup] = field(default_factory=dict)

    def run(
        self,
        game: str,
        arm: str,
        seed: int,
        *,
        channel: Mapping[str, Json] | None = None,
        trainer: str = "",
        settings: Settings | None = None,
        model: str = "",
        start: Job | None = None,
        checkpoint: str = "",
        rollouts: Mapping[str, Json] | None = None,
        watch: Sequence[str] = (),
    ) -> Job:
        """One run. ``channel``: the arm's options (``channel`` among them where it is not the arm's name).

        ``settings`` are the study's own, under what the user set. ``start``: begin from that run's policy
        (``checkpoint``: its last). ``rollouts``: what a trainer that learns from records learns from. ``watch``:
        detectors that look only where they are asked for.
        """
        if start is not None:
            at = f"/checkpoints/{checkpoint}" if checkpoint else ""
            model = f"{TRAINED}:{start.directory}{at}"
        name = trainer or self.trainer
        options_of = {section: {**(settings or {}).get(section, {})} for section in ("game", "trainer", "run")}
        known = (
            self.plugins.trainer(name).Options.model_fields.keys() - self.plugins.get("trainers", name).preset.keys()
        )
        for section, options in self.settings.items():
            if section == "trainer" and name != self.trainer:
                options = {k: v for k, v in options.items() if k in known}
            if section in options_of:
                options_of[section].update(options)
        experiment = Experiment(
            game=game,
            trainer=name,
            model=model or self.model,
            seeds=f"{seed}-{seed}",
            arms={} if arm == BASE else {arm: dict(channel or {})},
            game_options=options_of["game"],
            trainer_options=options_of["trainer"],
            run=options_of["run"],
            rollouts=dict(rollouts or {}),
            watch=list(watch),
        )
        spec = self._spec_of(experiment, arm, start)
        family = f"{label(game)}-{spec.family()}"
        return Job(spec, self.out / family, label=f"{family}/{spec.name}")

    def _spec_of(self, experiment: Experiment, arm: str, start: Job | None) -> RunSpec:
        """The spec; a run that starts from one which is not made yet takes the settings that its root model has."""
        key = experiment.hash() + arm
        if key not in self._resolved:
            stand_in = experiment if start is None else experiment.model_copy(update={"model": self.model})
            spec = next(s for s in resolve(stand_in, self.plugins) if s.arm == arm)
            self._resolved[key] = spec.model_copy(update={"model": experiment.model})
        return self._resolved[key]

    def arms(self, game: str, arms: Sequence[str], **options: Any) -> list[Job]:
        """Base and the named arms, each seed of the grid."""
        return [self.run(game, arm, seed, **options) for arm in (BASE, *arms) for seed in self.seeds]

    def evaluation(
        self, game: str, seed: int, checkpoint: str, *, split: Split | None = None, prompts: int | None = None
    ) -> Evaluation:
        """A further evaluation on a game (its default options), with the draws of a seed."""
        spec = self.run(game, BASE, seed).spec
        run = spec.run.model_copy(
            update={"eval_split": split or spec.run.eval_split, "eval_prompts": prompts or spec.run.eval_prompts}
        )
        return Evaluation(spec.model_copy(update={"run": run}), checkpoint)

    # --- what was recorded ------------------------------------------------------------------------------------

    def setup(self, job: Job) -> Setup:
        """What a run names, made once for all runs that differ in their seed only."""
        key = job.spec.model_copy(update={"seed": 0}).hash()
        if key not in self._setups:
            self._setups[key] = set_up(self.plugins, job.spec)
        return self._setups[key]

    def summary(self, job: Job, evaluation: Evaluation | None = None) -> Summary | None:
        """A run's own evaluation, or a further one; None if it is not there yet."""
        run, spec = RunDir(job.directory), job.spec
        if evaluation is None:
            return run.read_eval(spec.game, spec.run.eval_split, checkpoint_of(spec))
        other = evaluation.spec
        return run.read_eval(other.game, other.run.eval_split, evaluation.name(spec))

    def made(self, job: Job, evaluation: Evaluation | None = None) -> Summary:
        """The same; raises RunError where it is missing."""
        summary = self.summary(job, evaluation)
        if summary is None:
            raise RunError(f"{job.directory} is not finished. Run the same command to finish it.")
        return summary

    def steps(self, job: Job) -> list[dict[str, Json]]:
        return RunDir(job.directory).steps()

    def discovery(self, job: Job, base: Estimate | None) -> Discovery | None:
        """A run's discovery path by its game's onset detector, against a base rate; None where none can be had."""
        setup = self.setup(job)
        return path(rates_of(self.steps(job), setup.onset), base, setup.detectors[setup.onset].bounds[0])

    def collect(self, jobs: Sequence[Job]) -> ExperimentResults:
        """The results of jobs that are one experiment (base first, one directory)."""
        margins = validate(VerdictSettings, self.settings.get("verdict", {}), "verdict")
        return collect(
            [j.spec for j in jobs], jobs[0].out, self.setup(jobs[0]), self.checked[jobs[0].spec.game], margins
        )

    def device(self, job: Job) -> str:
        return str(read_manifest(job.directory).get("device", ""))

    def cost(self, jobs: Sequence[Job]) -> tuple[float, float]:
        """(wall, CPU) seconds that finished sittings of runs took, whenever and for whichever study they were made."""
        wall = cpu = 0.0
        for job in jobs:
            file = job.directory / "timings.jsonl"
            lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
            for sitting in (json.loads(line) for line in lines if '"cpu_s"' in line):
                wall, cpu = wall + sitting["wall_s"], cpu + sitting["cpu_s"]
        return wall, cpu


def merged(jobs: Sequence[Job]) -> list[Job]:
    """Each run once, with every evaluation that is asked of it. Raises RunError where two specs want one directory."""
    by_directory: dict[Path, Job] = {}
    for job in jobs:
        if (old := by_directory.get(job.directory)) is None:
            by_directory[job.directory] = job
            continue
        if old.spec != job.spec:
            raise RunError(f"the study has two runs for {job.directory}. Report it to its author.")
        further = (*old.further, *[e for e in job.further if e not in old.further])
        by_directory[job.directory] = replace(old, further=further)
    return list(by_directory.values())


def with_start(job: Job, starts: Mapping[str, PolicyRef]) -> Job:
    """The job with its start policy, if it does not start from another run."""
    return replace(job, start=starts.get(start_key(job.spec)))


def start_key(spec: RunSpec) -> str:
    """Names the place of a model that is not another run's; "" for one that is."""
    if spec.model.partition(":")[0] == TRAINED:
        return ""
    return json.dumps([spec.model, spec.game, spec.game_options], sort_keys=True)
