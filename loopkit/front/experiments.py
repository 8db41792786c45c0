"""``loopkit.run``: an experiment from what is asked for to its result. The command line calls the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit.errors import UsageError
from loopkit.evidence import write
from loopkit.evidence.results import collect
from loopkit.experiment.config import Experiment, RunSpec, on_tiny
from loopkit.experiment.registration import stamp
from loopkit.experiment.resolve import resolve, start_policy
from loopkit.experiment.rundir import RunDir
from loopkit.front.asked import Names, Options, Reward, Seeds, experiment_of
from loopkit.front.costs import Cost, cost, doubts
from loopkit.front.directories import claim, make
from loopkit.front.outcome import Result
from loopkit.front.probed import RECORD, Before, before
from loopkit.front.progress import Progress, listening, opening
from loopkit.registry import plugins as registry
from loopkit.registry.files import label
from loopkit.registry.plugins import Plugins
from loopkit.rollouts.scoring import Setup
from loopkit.running.parallel import DEADLINE, require, require_deadline, run_all, start_server
from loopkit.running.runner import CHECK, Event, Listener, check, preflight, preview, ready
from loopkit.system.files import locked, write_whole


@dataclass(frozen=True)
class Plan:
    """What would be run: every name and option is checked, and nothing is written yet."""

    experiment: Experiment
    specs: tuple[RunSpec, ...]
    out: Path
    jobs: int
    plugins: Plugins
    setup: Setup
    """What the first run names: the game, its channels and detectors."""
    found: Before | None = None
    """What a probe of the reward found, if the game takes one."""

    def preview(self) -> list[tuple[str, str]]:
        """(title, text) of what the trainer would write and start elsewhere for the last run."""
        return preview(self.specs[-1], self.out, self.plugins, self.setup)

    def cost(self) -> Cost | None:
        """Hours and memory, of a pretrained model whose size is known."""
        return cost(self.specs, self.jobs, self.setup.game)

    def doubts(self, estimate: Cost | None = None) -> list[str]:
        """Settings that make no sense for a pretrained model, with what to set instead."""
        return doubts(self.specs, self.setup.game, estimate)

    def perform(self, deadline: float = DEADLINE, progress: Progress = None) -> Result:
        """Make what is missing, and write ``results.json``. The same call again resumes."""
        require_deadline(deadline)
        make(self.out)
        with locked(self.out), listening(progress) as listen:
            return self._perform(deadline, listen)

    def _perform(self, deadline: float, listen: Listener) -> Result:
        claim(self.out, self.experiment)
        if self.found and self.found.probe and not (self.out / RECORD).exists():
            write_whole(self.out / RECORD, self.found.probe.card(markdown=False).encode())
        for spec in self.specs:  # finished runs too: changed data or another game version is not a resume
            RunDir(self.out / spec.name).belongs_to(spec)
        ready(self.specs, self.out, self.plugins, self.setup)
        first, game = self.specs[0], self.experiment.game
        new = not (self.out / CHECK).exists()
        if new:
            listen(Event(game, "check"))  # a slow machine takes a minute for it
        checked = check(first, self.setup, self.out)
        if new:
            listen(Event(game, "done", 1, 1))
        start = start_policy(
            first,
            self.plugins,
            opening(listen, self.experiment.model),
        )
        if not on_tiny(first.model):  # measured here, once, and not by every run beside the others
            from loopkit.policy.precision import choose

            choose(first, start)
        require(run_all(self.specs, self.out, start, self.jobs, listen, deadline), self.out)
        results = collect(self.specs, self.out, self.setup, checked, self.experiment.verdict)
        stamped = stamp(self.out, self.experiment.model_dump(mode="json"), self.specs)
        results = results.model_copy(update={"registration": stamped})
        write.all_of(results, self.out)
        return Result(self.out, results)


def plan(
    experiment: Experiment,
    out: str | Path | None = None,
    jobs: int | None = None,
    *,
    begin: bool = False,
    found: Before | None = None,
) -> Plan:
    """The plan of an experiment. ``begin``: it is about to be performed, so what takes seconds to load is started.
    ``found``: what a probe of its reward found, to be kept beside the runs.

    ``out``: default ``runs/<game>-<spec hash>``. ``jobs``: default one a core; 1 for a trainer that wants every GPU.
    Raises UsageError for whatever would stop every run.
    """
    directory = Path(out) if out is not None else Path("runs") / f"{label(experiment.game)}-{experiment.hash()}"
    if begin and not os.path.exists(directory / "results.json"):  # False where that cannot be known
        start_server()
    plugins = registry.load()
    specs = resolve(experiment, plugins)
    setup = preflight(specs[0], plugins, directory)
    side_by_side = 1 if plugins.trainer(specs[0].trainer).alone else os.cpu_count() or 1
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs={jobs}: at least one run is made at a time.")
    at_once = jobs or min(side_by_side, len(specs))
    return Plan(experiment, tuple(specs), directory, at_once, plugins, setup, found)


def run(
    game: str | Experiment | None = None,
    trainer: str | None = None,
    model: str | None = None,
    arms: Names | Mapping[str, Mapping[str, Any]] | None = None,
    seeds: Seeds | None = None,
    *,
    data: str | Path | None = None,
    reward: Reward | None = None,
    trusted: Reward | None = None,
    options: Options = (),
    judges: Mapping[str, str] | Sequence[str] = (),
    config: str | Path | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    deadline: float = DEADLINE,
    progress: Progress = None,
) -> Result:
    """Train every arm and seed of an experiment and say what it showed. The same call again resumes, or reads.

    Names and defaults are those of ``loopkit run`` (trainer "grpo", model "tiny"), and so are the bytes in ``out``.
    ``game`` may be a whole :class:`loopkit.Experiment`, and then it says everything that the experiment is.
    ``seeds``: 5 (seeds 0-4), a range or a list. ``arms``: names, or name -> the channel's options. ``options``: as
    with ``--set``, ``{"run.steps": 20}``. ``reward``, ``trusted``: "FILE.py:FUNCTION", or a function read from a file.
    ``progress``: called with every Event; False for silence; by default bars. ``deadline``: seconds a game may take
    for a batch of rollouts. Raises UsageError, RunError (a run failed; what it recorded is kept), CheckFailed.
    """
    if isinstance(game, Experiment):
        others = (trainer, model, arms, seeds, data, reward, trusted, config)
        if any(value is not None for value in others) or options or judges:
            raise UsageError(
                "run(Experiment(...)) takes out, jobs, deadline and progress: the Experiment says the rest."
            )
        experiment = game
    else:
        experiment = experiment_of(
            game, trainer=trainer, model=model, arms=arms, seeds=seeds, data=data, reward=reward, trusted=trusted,
            options=options, judges=judges, config=None if config is None else Path(config),
        )  # fmt: skip
    experiment, probed = before(experiment)
    return plan(experiment, out, jobs, begin=True, found=probed).perform(deadline, progress)
