"""Makes a run (arm x seed), resumable: trains it and evaluates the result. ``parallel`` makes many.

The trainer trains; the runner plays the start policy and the final checkpoint on held-out prompts, sampling as in
training.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from loopkit.checks import Report, check_game
from loopkit.contracts import Policy, PolicyRef, Trainer
from loopkit.errors import RunError, UsageError, require
from loopkit.experiment import digests, registration
from loopkit.experiment.arms import changed_options
from loopkit.experiment.config import BASE, RunSpec
from loopkit.experiment.manifest import check_sandbox, check_start, manifest, read_manifest
from loopkit.experiment.recorded import RecordedRollouts, select
from loopkit.experiment.resolve import GGUF, paying, require_there, roles_of, scheme_of, set_up, start_policy
from loopkit.experiment.rundir import OTHER_OPTIONS, RunDir, checkpoint_of
from loopkit.experiment.verifying import verify
from loopkit.interventions import Intervention
from loopkit.parts.judges import JUDGES, Judge
from loopkit.records import Message, StepMetrics
from loopkit.registry import plugins as registry
from loopkit.registry.plugins import Plugins
from loopkit.rollouts.halves import shown
from loopkit.rollouts.metrics import summary
from loopkit.rollouts.playing import evaluate
from loopkit.rollouts.referee import LocalReferee, plan
from loopkit.rollouts.scoring import PAID, Setup
from loopkit.sandbox import shared
from loopkit.seeding import digest
from loopkit.system.files import to_json, write_whole

ERROR = "error.txt"
CHECK = "check.json"
INSTRUCTED, NEUTRAL = "start-instructed", "start-neutral"
"""Evaluations of a start policy that is asked as in training, and with words that ask for nothing in their place."""


@dataclass(frozen=True)
class Event:
    """News of a run: ``phase`` is "train", "evaluate", "done", "failed" (``text`` says why) or "notice" (what was
    overcome). Between the processes also "asking": ``text`` is asked about rollouts ``ids``, or, empty, has answered.
    """

    run: str
    phase: str
    done: int = 0
    total: int = 0
    text: str = ""
    ids: tuple[str, ...] = ()


Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Evaluation:
    """A further evaluation of a run's policy: the game and split of ``spec`` (its arm and trainer do not matter)."""

    spec: RunSpec
    checkpoint: str
    """"start", or a directory of the run's ``checkpoints/``."""

    def name(self, run: RunSpec) -> str:
        """What it is kept as in the run's ``eval/<game>/<split>-…``; `loopkit eval` keeps the same one there too."""
        return evaluation_name(run, self.spec, self.checkpoint)


def evaluation_name(run: RunSpec | None, spec: RunSpec, checkpoint: str) -> str:
    """Checkpoint, seed, prompts, and a mark where the game or its options are not the run's own."""
    name = f"{checkpoint}-seed{spec.seed}-n{spec.run.eval_prompts}{_sampling(spec)}"
    if run is not None and (run.game, run.game_options, run.judges) == (spec.game, spec.game_options, spec.judges):
        return name
    judges = [spec.judges] if spec.judges else []
    return f"{name}{OTHER_OPTIONS}{digest(spec.game_options, spec.game_version, *judges):016x}"


def _sampling(spec: RunSpec) -> str:
    """A mark of an evaluation of drawn prompts, and of one that samples otherwise than training does."""
    run = spec.run
    drawn = "-drawn" if run.eval_draw == "seed" else ""
    if run.eval_samples == 1 and run.eval_overrides() == run.overrides():
        return drawn
    return f"{drawn}-k{run.eval_samples}-{digest(dataclasses.asdict(run.eval_overrides())):016x}"


def finished(spec: RunSpec, out: Path, further: Sequence[Evaluation] = ()) -> bool:
    """Whether a run has been trained and evaluated, on whatever ``further`` asks for too.

    Raises RunError where it was, and a file of it is not what was written.
    """
    run = RunDir(out / spec.name)
    if run.read_eval(spec.game, spec.run.eval_split, checkpoint_of(spec)) is None:
        return False
    verify([run.path])
    known = digests.read(run.path)
    if known is not None and not known.finished:
        return False
    return all(run.read_eval(e.spec.game, e.spec.run.eval_split, e.name(spec)) is not None for e in further)


def run_one(
    spec: RunSpec, out: Path, start: PolicyRef, tell: Listener, further: Sequence[Evaluation] = (), device: str = ""
) -> None:
    """Train and evaluate one run in this process. What was already done is not done again."""
    plugins = registry.load()
    from loopkit.policy.precision import choose

    directory = out / spec.name
    start = choose(spec, start, read_manifest(directory))
    began, cpu = time.perf_counter(), time.process_time()

    def closed(metrics: StepMetrics) -> None:
        tell(Event(spec.name, "train", metrics.step + 1, spec.run.steps, _told(metrics)))
        plugins.tell("step_closed", directory=str(directory), metrics=metrics)

    run = RunDir(directory, closed)
    with run.lock():
        about = manifest(spec, plugins, start, device) | registration.mark(out)
        run.begin(spec, about)
        check_sandbox(directory, about)
        check_start(directory, about)
        (directory / ERROR).unlink(missing_ok=True)
        if run.read_eval(spec.game, spec.run.eval_split, checkpoint_of(spec)) is None:
            plugins.tell("run_started", directory=str(directory), spec=spec.model_dump(mode="json"))
            setup = opened(spec, plugins, directory)
            instruct(spec, run, setup, start, tell)
            ref = start if spec.arm == BASE else train(spec, run, plugins, start, setup)
            evaluate_run(spec, run, setup, ref, checkpoint_of(spec), tell)
            plugins.tell("run_finished", directory=str(directory))
        for e in further:
            if run.read_eval(e.spec.game, e.spec.run.eval_split, e.name(spec)) is None:
                evaluate_run(
                    e.spec,
                    run,
                    opened(e.spec, plugins, directory),
                    _at(run, e.checkpoint, start),
                    e.name(spec),
                    tell,
                    spec.name,
                )
        run.seal(finished=True)
        run.note({"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu})


def _told(metrics: StepMetrics) -> str:
    """A step in words: what was paid on average, the task score, and the headline exploit rate."""
    headline = next(iter(metrics.rates.items()), None)
    parts = [f"paid {metrics.rewards[PAID]:.2f}"] if PAID in metrics.rewards else []
    if (task := metrics.scores.get("task")) is not None:
        parts.append(f"task {100 * task:.0f} %")
    if headline is not None and headline[1] is not None:
        parts.append(f"{headline[0]} {100 * headline[1].value:.0f} %")
    return ", ".join(parts)


def _at(run: RunDir, checkpoint: str, start: PolicyRef) -> PolicyRef:
    """The policy of a run's checkpoint, or the one it started from."""
    if checkpoint == "start":
        return start
    from loopkit.policy.save import reference, require_whole

    if not (run.checkpoints / checkpoint).is_dir():
        raise RunError(f"{run.checkpoints / checkpoint} is not there any more, so it cannot be evaluated. Remove "
                       f"{run.path} and run the same command: it is made anew.")  # fmt: skip
    require_whole(run.checkpoints / checkpoint)
    return reference(run.checkpoints / checkpoint, start)


def opened(spec: RunSpec, plugins: Plugins, directory: Path | None = None) -> Setup:
    """What a spec names, made once and handed on. Its judges record in ``directory``; without, none answers."""
    judges = None if directory is None else judges_of(spec, plugins, directory / JUDGES)
    return set_up(plugins, spec, judges)


def train(spec: RunSpec, run: RunDir, plugins: Plugins, start: PolicyRef, setup: Setup) -> PolicyRef:
    """Let a run's trainer learn."""
    trainer, source = _parts(spec, run, plugins, start, setup)
    trained = trainer.train(source, run.checkpoints)
    run.seal()
    return trained


def preview(spec: RunSpec, out: Path, plugins: Plugins, setup: Setup) -> list[tuple[str, str]]:
    """What the trainer says it would write and start for a run, (title, text) each; makes nothing."""
    run = RunDir(out / spec.name)
    trainer, source = _parts(spec, run, plugins, PolicyRef(spec.model), paying(setup, plugins, spec))
    return list(trainer.preview(source, run.checkpoints))


def ready(specs: Sequence[RunSpec], out: Path, plugins: Plugins, setup: Setup) -> None:
    """Ask the trainer of the last run that is still to be trained whether something would stop it."""
    spec = next((s for s in reversed(specs) if s.arm != BASE and s.rollouts is None), None)
    if spec is not None and not finished(spec, out):
        run = RunDir(out / spec.name)
        trainer, source = _parts(spec, run, plugins, PolicyRef(spec.model), paying(setup, plugins, spec))
        trainer.preflight(source, run.checkpoints)


def _parts(spec: RunSpec, run: RunDir, plugins: Plugins, start: PolicyRef, setup: Setup) -> tuple[Trainer, Any]:
    """A run's trainer, and the source it learns from."""
    settings = spec.run
    cls = plugins.trainer(spec.trainer)
    parts = setup.interventions
    options = changed_options(plugins, spec.trainer, spec.trainer_options, parts, f"arms.{spec.arm}")
    trainer = cls(options, start, spec.seed)
    source: Any
    if spec.rollouts is not None:
        source = RecordedRollouts(
            spec.rollouts,
            plugins,
            n_steps=settings.steps,
            size=settings.prompts_per_step * settings.group_size,
            seed=spec.seed,
            recorder=run,
        )
    else:
        source = LocalReferee(
            setup,
            seed=spec.seed,
            split="train",
            n_steps=settings.steps,
            prompts_per_step=settings.prompts_per_step,
            group_size=settings.group_size,
            recorder=run,
            overrides=settings.overrides(),
            keep=(lambda task: not shown(task)) if settings.unseen else (lambda task: True),
            opening=partial(_opening, parts),
            stop=partial(_stops, parts) if any("stop" in one.changes() for one in parts.values()) else None,
            past=lambda: [{n: r and r["value"] for n, r in step["rates"].items()} for step in run.steps()],
        )
    return trainer, source


def _opening(
    parts: Mapping[str, Intervention], messages: Sequence[Message], neutral: bool = False
) -> Sequence[Message]:
    """A training prompt's opening messages, as the arm's interventions leave them."""
    for one in parts.values():
        messages = one.neutral(messages) if neutral and one.by_instruction else one.prompt(messages)
    return messages


def _stops(parts: Mapping[str, Intervention], rates: Sequence[Mapping[str, float | None]]) -> bool:
    """Whether an intervention ends training, after the steps whose rates these are."""
    return any(one.stop([step.get(one.watched) for step in rates]) for one in parts.values())


def instruct(spec: RunSpec, run: RunDir, setup: Setup, start: PolicyRef, tell: Listener) -> None:
    """Play the start policy with the prompt that training will have, and with a neutral one, where an intervention
    works by instruction alone: whether it follows it is measured before it is trained."""
    if not any(one.by_instruction for one in setup.interventions.values()):
        return
    for name in (INSTRUCTED, NEUTRAL):
        if run.read_eval(spec.game, spec.run.eval_split, name) is None:
            opening = partial(_opening, setup.interventions, neutral=name == NEUTRAL)
            evaluate_run(spec, run, setup, start, name, tell, opening=opening)


def evaluate_run(
    spec: RunSpec,
    run: RunDir,
    setup: Setup,
    ref: PolicyRef,
    checkpoint: str,
    tell: Listener,
    run_name: str = "",
    opening: Callable[[Sequence[Message]], Sequence[Message]] = lambda messages: messages,
) -> None:
    """Play a policy on the spec's game and held-out split, and keep it under ``eval/``. ``opening``: what becomes of
    the opening messages; an arm's interventions do not change them here."""
    from loopkit.policy.conditions import under
    from loopkit.policy.load import load

    settings = spec.run
    name = run_name or spec.name
    scored = evaluate(
        setup,
        under(load(ref, seed=spec.seed), settings.condition),
        seed=spec.seed,
        split=settings.eval_split,
        prompts=settings.eval_prompts,
        batch=settings.eval_batch,
        overrides=settings.eval_overrides(),
        group=settings.eval_samples,
        opening=opening,
        drawn=settings.eval_draw == "seed",
        progress=lambda done, total: tell(Event(name, "evaluate", done, total)),
    )
    run.write_eval(spec.game, settings.eval_split, checkpoint, scored, summary(setup, scored))


def _evaluation_only(model: str, plugins: Plugins) -> str:
    """Why a model of its scheme cannot be trained; empty where it can."""
    scheme = model.partition(":")[0]
    if scheme not in plugins.names("policies"):
        return ""
    return str(getattr(plugins.get("policies", scheme).load(), "evaluation_only", ""))


def _require_there(model: str, plugins: Plugins) -> None:
    """Raise UsageError if a model is a path, by itself or behind ``tiny:``, that does not exist."""
    scheme, argument = scheme_of(model)
    if scheme not in plugins.names("policies"):
        require_there(model)
    elif scheme == GGUF and not Path(argument).is_file():
        raise UsageError(f"--model {argument!r}: there is no such file. `loopkit models` lists what is here.")
    elif scheme == "tiny" and argument and not Path(argument).is_dir():
        raise UsageError(f"{model}: there is no such directory. Make one: loopkit warmup --out {argument}")


def open_policy(spec: RunSpec, plugins: Plugins, progress: Callable[[int, int], None], seed: int) -> Policy:
    """``spec.model``, ready to speak: loaded, or behind a server."""
    start = start_policy(spec, plugins, progress)
    if isinstance(start, PolicyRef):
        from loopkit.policy.load import load

        return load(start, seed=seed)
    policy: Policy = start
    return policy


def judges_of(spec: RunSpec, plugins: Plugins, directory: Path | None) -> dict[str, Policy]:
    """The judges that a spec names, by role. Each is loaded when it is first asked what ``directory`` does not hold."""
    out: dict[str, Policy] = {}
    for name, role in roles_of(plugins, spec.game, spec.judges).items():
        model = spec.judges[name]
        opened = partial(open_policy, spec.model_copy(update={"model": model}), plugins, lambda done, total: None, 0)
        out[name] = Judge(name, role, model, opened, directory and directory / f"{name}.jsonl")
    return out


def check(spec: RunSpec, setup: Setup, out: Path) -> Report:
    """``check_game`` before any gradient, once an experiment: its answer is kept in ``check.json``.

    Raises CheckFailed where the game's own honest and exploiting transcripts are not told apart.
    """
    file = out / CHECK
    if file.exists():
        try:
            return Report.read(json.loads(file.read_bytes()))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{file} cannot be read ({type(error).__name__}). Remove it and run the same command: it checks again."
            ) from error
    game = setup.game
    channels = {**setup.shadow, spec.channel: setup.paid}
    own = {name: detector for name, detector in setup.detectors.items() if not detector.asked_for}
    report = check_game(game, channels=channels, detectors=own, name=spec.game, n_tasks=12, fuzz=60,
                        new_process=not spec.judges)  # fmt: skip
    report.raise_if_failed()
    write_whole(file, to_json(report.json()))
    return report


def preflight(spec: RunSpec, plugins: Plugins, out: Path | None = None) -> Setup:
    """Raise now, once, for what would stop every run: tasks that cannot be read or packed, rollouts not there.

    Returns what the spec names; see ``opened`` for ``out``.
    """
    if reason := _evaluation_only(spec.model, plugins):
        raise UsageError(f"--model {spec.model} {reason}")
    for model in (spec.model, *spec.judges.values()):
        _require_there(model, plugins)
    require("torch", "training")
    for model in spec.judges.values():
        if _evaluation_only(model, plugins):  # made now, though not asked: a bad URL, or a package that is missing
            start_policy(spec.model_copy(update={"model": model}), plugins, lambda done, total: None)
    setup = opened(spec, plugins, out)
    game = setup.game
    if game.programs:
        shared()  # refused now, if this machine has none that holds
    if not game.tasks(spec.run.eval_split):
        raise UsageError(f"{spec.game} has no tasks in split {spec.run.eval_split!r}. Choose another run.eval_split.")
    if spec.rollouts is not None:
        select(spec.rollouts, plugins)
    else:
        tasks = [task for task in game.tasks("train") if not (spec.run.unseen and shown(task))]
        plan(tasks, 1, spec.run.prompts_per_step, spec.seed, "train")
    return setup
