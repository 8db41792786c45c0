"""Proves that a trainer keeps to the protocol, and that a killed one continues where the records end."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from loopkit.checks.report import RULES, Book, Complaints, Report
from loopkit.checks.specimens import Specimen, sample, specimens_of
from loopkit.contracts import PolicyRef, Trainer
from loopkit.errors import ContractError, UsageError
from loopkit.records import Dialogue, Scored, StepMetrics
from loopkit.referee import LocalReferee
from loopkit.scoring import Setup


def check_trainer(
    trainer_cls: type[Trainer],
    *,
    workdir: Path,
    start: PolicyRef,
    setup: Setup,
    options: BaseModel | None = None,
    n_steps: int = 3,
    prompts_per_step: int | None = None,
    group_size: int = 2,
) -> Report:
    """Proves that a trainer keeps to the protocol, and that a killed one continues where the records end.

    It is trained twice on ``setup`` (of a game that passes) under ``workdir`` (empty, else UsageError), for ``n_steps``
    (at least 2) of one cluster each by default: once uninterrupted, once killed inside ``close(1)`` and started again.
    If it says it is deterministic, both must end in the same files and records. Answers "proven" or "fails".
    """
    if workdir.exists() and any(workdir.iterdir()):
        raise UsageError(f"{workdir} is not empty. Pass a fresh directory to check a trainer in.")
    book = Book(f"trainer {trainer_cls.__name__}")
    if not book.holds("trainer", _trainer(trainer_cls, options)):
        return book.report()
    made = trainer_cls.Options() if options is None else options
    largest = max(Counter(t.cluster for t in setup.game.tasks("train")).values())
    files: list[dict[str, bytes]] = []
    records: list[str] = []

    def source(ledger: _Ledger) -> Any:
        if trainer_cls.source == "rollouts":
            return _SpecimenSet(setup, n_steps)
        return LocalReferee(
            setup, seed=0, split="train", n_steps=n_steps, prompts_per_step=prompts_per_step or largest,
            group_size=group_size, recorder=ledger,
        )  # fmt: skip

    def attempt(into: Path, kill: int | None) -> Complaints:
        into.mkdir(parents=True)
        ledger = _Ledger()
        if kill is not None:
            with suppress(_Killed):
                trainer_cls(made, start, 0).train(_Spy(source(ledger), kill), into)
                yield "train() returned though close(1) was interrupted. Let what the referee raises end train()."
        spy = _Spy(source(ledger), None)
        ref = trainer_cls(made, start, 0).train(spy, into)
        yield from _protocol(spy.calls, n_steps, kill or 0)
        for step, (metrics, _) in sorted(ledger.steps.items()):
            if odd := metrics.missing + metrics.surplus:
                yield f"Step {step} has missing or surplus rollouts {odd[:2]}. Play and settle group_size per slot."
        if not isinstance(ref, PolicyRef):
            yield f"train() returned {ref!r:.60}. Return the PolicyRef of the last checkpoint."
            return
        path = Path(ref.adapter or ref.path).resolve()
        if not path.exists() or not path.is_relative_to(into.resolve()):
            yield f"train() returned {str(path)!r}, which is not in workdir. Save checkpoints there, return the last."
            return
        found = [path, *path.rglob("*")]
        files.append({str(f.relative_to(into.resolve())): f.read_bytes() for f in found if f.is_file()})
        records.append(repr(sorted(ledger.steps.items())))

    def deterministic() -> Complaints:
        one, other = files
        if differing := sorted(f for f in one.keys() | other.keys() if one.get(f) != other.get(f)):
            yield f"Killed and resumed, the policy's files {differing[:3]} differ. {RULES['deterministic']}"
        if records[0] != records[1]:
            yield f"Killed and resumed, the records differ. {RULES['deterministic']}"

    whole = book.holds("uninterrupted", attempt(workdir / "uninterrupted", None))
    if whole and book.holds("resumed", attempt(workdir / "resumed", 1)) and trainer_cls.deterministic:
        book.holds("deterministic", deterministic())
    return book.report()


def _trainer(trainer_cls: type[Trainer], options: BaseModel | None) -> Complaints:
    if trainer_cls.source not in ("referee", "rollouts"):
        yield f"source is {trainer_cls.source!r}. Set it to 'referee' (plays) or 'rollouts' (learns from records)."
    if not isinstance(trainer_cls.deterministic, bool):
        yield f"deterministic is {trainer_cls.deterministic!r}. Set it to True or False."
    if not (isinstance(trainer_cls.Options, type) and issubclass(trainer_cls.Options, BaseModel)):
        yield "Options is not a pydantic model. Derive it from loopkit.contracts.Options."
    elif options is not None and not isinstance(options, trainer_cls.Options):
        yield f"The options are a {type(options).__name__}. Pass the trainer's own {trainer_cls.Options.__name__}."
    elif options is None:
        trainer_cls.Options()  # raises if an option has no default


def _protocol(calls: Sequence[tuple[str, int]], n_steps: int, latest: int) -> Complaints:
    verb, first = calls[0] if calls else ("nothing", 0)
    if verb != "resume" or any(verb == "resume" for verb, _ in calls[1:]):
        yield f"The first call was {verb}, or resume was called again. Call source.resume(step) first, and once."
        return
    if first > latest:
        yield (
            f"It resumed from step {first}, but the records end before step {latest}. "
            "Save a step's checkpoint only after its close() returned; with none, resume(0)."
        )
    needs = {"reply": ("slots",), "settle": ("reply",), "close": ("settle", "batch")}
    for i, (verb, step) in enumerate(calls):
        if verb in needs and not any((need, step) in calls[:i] for need in needs[verb]):
            yield f"{verb} of step {step} came before {' or '.join(needs[verb])}. {RULES['uninterrupted']}"
    closed = [step for verb, step in calls if verb == "close"]
    if closed != (due := list(range(first, n_steps))):
        yield f"It closed the steps {closed}, not {due}. Close every step from the resumed one on, once and in order."


class _Killed(BaseException):
    """Stands for kill -9: no ``except Exception`` catches it."""


class _Spy:
    """A Referee, or a RolloutSet, that notes every call as (verb, step), and may die inside one close."""

    def __init__(self, source: Any, kill: int | None) -> None:
        self.source, self.kill = source, kill
        self.calls: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.source, name)
        if name not in ("resume", "slots", "reply", "settle", "close", "batch"):
            return value

        def noted(*args: Any, **named: Any) -> Any:
            what = next(iter(inspect.signature(value).bind(*args, **named).arguments.values()))  # a step, or ids
            parts = [] if isinstance(what, int) else [id_.split("/") for id_ in what]
            steps = {what} if isinstance(what, int) else {int(p[1]) for p in parts if len(p) > 2 and p[1].isdigit()}
            self.calls += [(name, step) for step in sorted(steps)]
            if name == "close" and what == self.kill:
                raise _Killed
            return value(*args, **named)

        return noted


class _Ledger:
    """A recorder that outlives its referee, as a run directory does."""

    def __init__(self) -> None:
        self.steps: dict[int, tuple[StepMetrics, Sequence[Scored]]] = {}

    def drop(self, step: int) -> None:
        self.steps = {k: v for k, v in self.steps.items() if k < step}

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        self.steps[metrics.step] = (metrics, scored)

    def recorded(self) -> list[int]:
        return list(self.steps)


class _SpecimenSet:
    """A RolloutSet of a game's honest specimens: one cluster a step."""

    def __init__(self, setup: Setup, n_steps: int) -> None:
        self.n_steps = n_steps
        played: list[Specimen] = []
        tasks = sample(setup.game.tasks("train"), 8, "train")
        for complaint in specimens_of(setup.game, [("train", t) for t in tasks], played):
            raise ContractError(complaint)
        self.rollouts = [s.rollout for s in played if s.kind == "honest"]

    def resume(self, step: int) -> None: ...

    def batch(self, step: int) -> list[Dialogue]:
        chosen = self.rollouts[step :: self.n_steps]
        return [Dialogue(r.id, tuple(replace(m, state=None) for m in r.messages())) for r in chosen]

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None: ...
