"""What a study is: a plan of runs, in stages, and how they are summarised. ``perform`` makes one, resumable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

import loopkit
from loopkit.contracts import Options, PolicyRef
from loopkit.evidence import schema, write
from loopkit.evidence.claims import Exploit
from loopkit.evidence.exploit import exploit
from loopkit.evidence.sections import Section
from loopkit.experiment.config import BASE, TRAINED, on_tiny
from loopkit.experiment.manifest import git_revision, read_manifest
from loopkit.experiment.resolve import start_policy
from loopkit.experiment.rundir import RunDir
from loopkit.records import Json
from loopkit.running.parallel import DEADLINE, Job, refuse, run_jobs
from loopkit.running.runner import ERROR, Listener, check, preflight, ready
from loopkit.studies.comparable import require_comparable
from loopkit.studies.grid import Grid, merged, start_key, with_start
from loopkit.system.files import locked

GAMES = ("context-compliance", "self-grading", "proxy-metric", "reward-tampering")
TINY = (
    "tiny is the embedded policy: a real but very small model, warmed up on demonstrations that hold the exploit; "
    "nothing on it is evidence about large models or spontaneous."
)


class Study(ABC):
    """A designed set of experiments. Subclasses say which runs, and what they show."""

    name: ClassVar[str]
    title: ClassVar[str]
    what: ClassVar[str]
    """The question it answers, in a sentence."""
    games: ClassVar[tuple[str, ...]] = GAMES
    """Of the preset; ``--games`` names others."""
    seeds: ClassVar[str] = "3"
    Options: ClassVar[type[BaseModel]] = Options
    """Set with ``--set study.NAME=VALUE``."""

    @classmethod
    def preset_games(cls, options: Any) -> tuple[str, ...]:
        """The games it plays where ``--games`` names none."""
        return cls.games

    def __init__(self, grid: Grid, options: Any) -> None:
        self.grid, self.options = grid, options

    @abstractmethod
    def plan(self) -> Iterator[list[Job]]:
        """Runs, stage by stage. What follows a ``yield`` may read the records of the stages before it; in a dry run
        they may be missing, and a stand-in of the same cost is planned."""

    @abstractmethod
    def sections(self) -> list[Section]:
        """What the finished runs show."""

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        """Groups of runs whose numbers are set side by side, and what they may differ in (keys of ``described``)."""
        return []

    def notes(self) -> list[str]:
        """Sentences that belong beside every table."""
        return []


Bar = Callable[[str, str], Callable[[int, int], None]]


def perform(
    study: Study, out: Path, asked: dict[str, Json], jobs: int, tell: Listener, bar: Bar, deadline: float = DEADLINE
) -> schema.StudyResults:
    """Make what is missing of a study's runs, and write its results to ``out``. The same call again resumes."""
    grid = study.grid
    seen: list[Job] = []
    with locked(out):
        starts: dict[str, PolicyRef] = {}
        for stage in study.plan():
            todo = merged(stage)
            prepare(grid, todo, starts, bar)
            failed = run_jobs([with_start(job, starts) for job in todo], jobs, tell, deadline)
            refuse({job.name: job.directory / ERROR for job in failed})
            seen += todo
        seen = merged(seen)
        for runs, but in study.comparisons():
            require_comparable(runs, but)
        about = _made(study, seen, asked)
        results = schema.StudyResults(
            study=study.name,
            title=study.title,
            what=study.what,
            made=about,
            notes=(*([TINY] if on_tiny(grid.model) else []), *study.notes(), *_mixed(about.hardware)),
            sections=tuple(study.sections()),
            runs=tuple(_entry(grid, job) for job in seen),
            exploit=_exploit(grid, seen),
        )
        write.all_of(results, out)
    return results


def prepare(grid: Grid, todo: Sequence[Job], starts: dict[str, PolicyRef], bar: Bar) -> None:
    """Before anything runs: no directory is another spec's, each game is proven, start policies are there."""
    for job in {j.spec.trainer: j for j in todo if j.spec.arm != BASE}.values():
        ready([job.spec], job.out, grid.plugins, grid.setup(job))
    for job in todo:
        RunDir(job.directory).belongs_to(job.spec)
        key = start_key(job.spec)
        if key and key not in starts:
            setup = preflight(job.spec, grid.plugins, job.out)
            if job.spec.game not in grid.checked:
                grid.checked[job.spec.game] = check(job.spec, setup, job.out)
            starts[key] = start_policy(job.spec, grid.plugins, bar(job.spec.model, "warm-up"))


def _made(study: Study, jobs: Sequence[Job], asked: dict[str, Json]) -> schema.Made:
    grid = study.grid
    run = jobs[0].spec.run
    weights: dict[str, dict[str, str | None]] = {}
    for job in jobs:
        if job.spec.model.partition(":")[0] != TRAINED:
            sha256 = read_manifest(job.directory).get("start_policy_sha256")
            weights.setdefault(job.spec.model, {})[job.spec.game] = sha256
    starts: dict[str, str | None] = {}
    for model, by_game in weights.items():
        if len(set(by_game.values())) == 1:
            starts[model] = next(iter(by_game.values()))
        else:  # a short warm-up of its own for some game
            starts |= {f"{model} for {game}": sha256 for game, sha256 in by_game.items()}
    return schema.Made(
        loopkit=loopkit.__version__,
        git=git_revision(Path(loopkit.__file__).parent),
        model=grid.model,
        trainer=grid.trainer,
        games=grid.games,
        seeds=grid.seeds,
        split=run.eval_split,
        prompts=run.eval_prompts,
        options=asked,
        hardware=tuple(sorted({grid.device(j) for j in jobs} - {""})),
        start_policies=starts,
    )


def _mixed(devices: Sequence[str]) -> list[str]:
    return [f"Runs were made on different hardware: {'; '.join(devices)}."] if len(devices) > 1 else []


def _exploit(grid: Grid, jobs: Sequence[Job]) -> Exploit | None:
    """The first exploit of the first game's runs on the loophole; None where there are none, or they said none."""
    trained = [job for job in jobs if job.spec.arm == "loophole" and job.spec.channel == "loophole"]
    first_game = [job for job in trained if job.out == trained[0].out]
    return (
        exploit(grid.setup(first_game[0]), [job.spec for job in first_game], first_game[0].out) if first_game else None
    )


def _entry(grid: Grid, job: Job) -> schema.RunEntry:
    spec = job.spec
    return schema.RunEntry(
        directory=f"../{job.out.name}/{spec.name}",
        game=spec.game,
        arm=spec.arm,
        channel=spec.channel,
        channel_options=spec.channel_options,
        trainer=spec.trainer,
        model=spec.model,
        seed=spec.seed,
        steps=0 if spec.arm == BASE else spec.run.steps,
        spec_hash=spec.hash(),
        device=grid.device(job),
    )
