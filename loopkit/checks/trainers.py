"""Proves that a trainer keeps to the protocol, and that a killed one continues where the records end."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from loopkit.checks import fresh
from loopkit.checks.declared import first_line, is_model, strict
from loopkit.checks.purity import Ledger, prompts_a_step
from loopkit.checks.report import RULES, Book, Complaints, Report
from loopkit.checks.spy import Killed, Lossy, SpecimenSet, Spy
from loopkit.contracts import PolicyRef, Trainer
from loopkit.errors import UsageError
from loopkit.records import Json
from loopkit.rollouts.referee import LocalReferee
from loopkit.rollouts.scoring import Setup
from loopkit.serving import serve

CHECKPOINT = re.compile(r"step-(\d{6,})")


def check_trainer(
    trainer_cls: type[Trainer],
    *,
    workdir: Path,
    start: PolicyRef,
    setup: Setup,
    options: BaseModel | Mapping[str, Json] | None = None,
    n_steps: int = 3,
    prompts_per_step: int | None = None,
    group_size: int = 4,
    name: str = "",
    new_process: bool = True,
) -> Report:
    """Proves that a trainer keeps to the protocol, and that a killed one continues where the records end.

    It is trained on ``setup`` (of a game that passes) under ``workdir`` (empty, else UsageError), for ``n_steps`` (at
    least 2) of one cluster each by default: uninterrupted; killed inside ``close(1)`` before the record, and after it,
    and started again, the second time in a new process (unless ``new_process`` is False, or it cannot be sent there);
    and, if it plays, against a served referee that loses every answer once. If it says it is deterministic, all must
    end in the same files and records. ``options`` are the trainer's Options, or values for some (a preset); then
    ``checkpoint_every`` is 1 where there is such an option, so that there is a checkpoint to continue from. Answers
    "proven" or "fails".
    """
    if workdir.exists() and any(workdir.iterdir()):
        raise UsageError(f"{workdir} is not empty. Pass a fresh directory to check a trainer in.")
    book = Book(name or f"trainer {trainer_cls.__name__}")
    if not book.holds("trainer", _trainer(trainer_cls, options)):
        return book.report()
    chosen = options if isinstance(options, BaseModel) else _often(trainer_cls, options)
    prompts = prompts_per_step or prompts_a_step(setup.game, n_steps)
    trial = Trial(trainer_cls, chosen, start, setup, n_steps, prompts, group_size)
    ended: dict[str, Attempt] = {}
    if not book.holds("uninterrupted", _uninterrupted(trial, workdir / "uninterrupted", ended)):
        return book.report()
    book.holds("resumed", _resumed(trial, workdir / "resumed", ended))
    if new_process:
        book.holds("restarted", _resumed(trial, workdir / "restarted", ended, new_process=True))
    if trainer_cls.source == "referee":
        book.holds("served", _served(trial, workdir / "served", ended))
    if trainer_cls.deterministic and all(f.ok for f in book.findings):
        book.holds("deterministic", _deterministic(ended))
    return book.report()


def _often(trainer_cls: type[Trainer], options: Mapping[str, Json] | None) -> BaseModel:
    often = {"checkpoint_every": 1} if "checkpoint_every" in trainer_cls.Options.model_fields else {}
    return trainer_cls.Options.model_validate({**often, **(options or {})})


def _trainer(trainer_cls: type[Trainer], options: BaseModel | Mapping[str, Json] | None) -> Complaints:
    if trainer_cls.source not in ("referee", "rollouts"):
        yield f"source is {trainer_cls.source!r}. Set it to 'referee' (plays) or 'rollouts' (learns from records)."
    if not isinstance(trainer_cls.deterministic, bool):
        yield f"deterministic is {trainer_cls.deterministic!r}. Set it to True or False."
    if not is_model(trainer_cls.Options):
        yield "Options is not a pydantic model. Derive it from loopkit.Options."
        return ""
    yield from strict("Options", trainer_cls.Options)
    if not isinstance(options, BaseModel):
        try:
            _often(trainer_cls, options)
        except ValueError as error:
            yield f"Options cannot be made ({first_line(error)}). Give each a default, or mend the preset."
    elif not isinstance(options, trainer_cls.Options):
        yield f"The options are a {type(options).__name__}. Pass the trainer's own {trainer_cls.Options.__name__}."
    return f"{len(trainer_cls.Options.model_fields)} options"


@dataclass(frozen=True)
class Trial:
    """A trainer with all that it is tried on."""

    trainer: type[Trainer]
    options: BaseModel
    start: PolicyRef
    setup: Setup
    n_steps: int
    prompts: int
    group_size: int

    def source(self, ledger: Ledger) -> Any:
        if self.trainer.source == "rollouts":
            return SpecimenSet(self.setup, self.n_steps, ledger)
        return LocalReferee(
            self.setup, seed=0, split="train", n_steps=self.n_steps, prompts_per_step=self.prompts,
            group_size=self.group_size, recorder=ledger,
        )  # fmt: skip


@dataclass
class Attempt:
    """One call of train(), or two where the first was killed: what it asked for and left behind."""

    ledger: Ledger = field(default_factory=Ledger)
    calls: list[tuple[str, int]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    ref: Any = None
    files: dict[str, bytes] = field(default_factory=dict)


def attempt(
    trial: Trial, workdir: Path, ledger: Ledger, kill: tuple[int, str] | None = None, served: bool = False
) -> Attempt:
    """Trains once. Raises Killed where it is to be killed, and lets what else train() raises through."""
    source = trial.source(ledger)
    with serve(source) if served else nullcontext() as server:
        spy = Spy(Lossy(server.url, server.token) if server else source, kill)
        ref = trial.trainer(trial.options, trial.start, 0).train(spy, workdir)
        if server and server.errors:
            raise server.errors[0]
    return Attempt(ledger, spy.calls, spy.odd, ref)


def _uninterrupted(trial: Trial, workdir: Path, ended: dict[str, Attempt]) -> Complaints:
    workdir.mkdir(parents=True)
    before = _stats(Path(trial.start.path))
    whole = attempt(trial, workdir, Ledger())
    yield from _kept(trial, workdir, whole, newest=0, least=0)
    if _stats(Path(trial.start.path)) != before:
        yield "train() changed the policy it starts from, which other runs share. Save into workdir alone."
    ended["uninterrupted"] = whole
    if trial.trainer.source == "rollouts":
        return f"{trial.n_steps} batches"
    mixed = sum(bool(metrics.mixed_groups) for metrics, _ in whole.ledger.steps.values())
    size = f"{trial.n_steps} steps of {trial.prompts} prompts x {trial.group_size} rollouts"
    return f"{size}, rewards differing within a group in {mixed}"


def _resumed(trial: Trial, workdir: Path, ended: dict[str, Attempt], new_process: bool = False) -> Complaints:
    workdir.mkdir(parents=True)
    ledger = Ledger()
    with suppress(Killed):
        attempt(trial, workdir, ledger, kill=(1, "after" if new_process else "before"))
        yield "train() returned though close(1) was interrupted. Let what the referee raises end train()."
    newest = max((int(name[5:]) for name in _checkpoints(workdir)), default=0)
    recorded = len(ledger.steps)
    again = fresh.call(attempt, trial, workdir, ledger) if new_process else attempt(trial, workdir, ledger)
    yield from _kept(trial, workdir, again, newest=recorded, least=min(newest, recorded))
    ended["restarted" if new_process else "resumed"] = again
    return f"killed with {recorded} steps recorded, continued from step {newest}"


def _served(trial: Trial, workdir: Path, ended: dict[str, Attempt]) -> Complaints:
    workdir.mkdir(parents=True)
    served = attempt(trial, workdir, Ledger(), served=True)
    yield from _kept(trial, workdir, served, newest=0, least=0)
    ended["served"] = served
    return f"{len(served.calls)} calls, each asked twice"


def _deterministic(ended: dict[str, Attempt]) -> Complaints:
    (_, first), *others = ended.items()
    for way, other in others:
        one, two = first.files, other.files
        if differing := sorted(f for f in one.keys() | two.keys() if one.get(f) != two.get(f)):
            yield f"When {way}, the policy's files {differing[:3]} differ. {RULES['deterministic'].cure}"
        if first.ledger.facts() != other.ledger.facts():
            yield f"When {way}, the records differ. {RULES['deterministic'].cure}"
    return ", ".join(ended)


def _kept(trial: Trial, workdir: Path, trained: Attempt, newest: int, least: int) -> Complaints:
    """Whether the protocol was kept: it may resume from ``least`` (its newest checkpoint) to ``newest`` (the records).

    Reads the files that the returned policy is made of.
    """
    yield from trained.odd
    yield from protocol(trained.calls, trial.n_steps, newest, least)
    if sorted(trained.ledger.steps) != list(range(trial.n_steps)):
        steps = sorted(trained.ledger.steps)
        yield f"The records hold the steps {steps}. Resume from the newest checkpoint, close each."
    for step, (metrics, _) in sorted(trained.ledger.steps.items()):
        if odd := metrics.missing + metrics.surplus:
            yield f"Step {step} has missing or surplus rollouts {odd[:2]}. Play and settle group_size per slot."
    if not isinstance(trained.ref, PolicyRef):
        yield f"train() returned {trained.ref!r:.60}. Return the PolicyRef of the last checkpoint."
        return ""
    here, path = workdir.resolve(), Path(trained.ref.adapter or trained.ref.path).resolve()
    if not path.exists() or not path.is_relative_to(here):
        yield f"train() returned {str(path)!r}, which is not in workdir. Save checkpoints there, return the last."
        return ""
    if path.parent != here or path.name != f"step-{trial.n_steps:06d}":
        yield f"train() returned {path.name!r}. Name checkpoints after the steps done, step-{trial.n_steps:06d} here."
    for checkpoint in {path.name: path, **{name: here / name for name in _checkpoints(here)}}.values():
        if missing := _lacks(checkpoint):
            yield (
                f"{checkpoint.name} has no {missing}. Save in Hugging Face layout, "
                "as loopkit.policy.save.save_checkpoint does."
            )
    paths = [path, *path.rglob("*")]
    trained.files = {str(f.relative_to(here)): f.read_bytes() for f in paths if f.is_file()}
    return ""


def protocol(calls: Sequence[tuple[str, int]], n_steps: int, newest: int, least: int) -> Complaints:
    verb, first = calls[0] if calls else ("nothing", 0)
    if verb != "resume" or any(verb == "resume" for verb, _ in calls[1:]):
        yield f"The first call was {verb}, or resume was called again. Call source.resume(step) first, and once."
        return ""
    if first > newest:
        yield (
            f"It resumed from step {first}, but the records end before step {newest}. "
            "Save a step's checkpoint only after its close() returned; with none, resume(0)."
        )
    if first < least:
        yield f"It resumed from step {first}, and step-{least:06d} was there. Continue from the newest checkpoint."
    needs = {"reply": ("slots",), "settle": ("reply",), "close": ("settle", "batch")}
    for i, (verb, step) in enumerate(calls):
        if verb in needs and not any((need, step) in calls[:i] for need in needs[verb]):
            yield f"{verb} of step {step} came before {' or '.join(needs[verb])}. {RULES['uninterrupted'].cure}"
    closed = [step for verb, step in calls if verb == "close"]
    if closed != (due := list(range(first, n_steps))):
        yield f"It closed the steps {closed}, not {due}. Close every step from the resumed one on, once and in order."
    if idle := sorted({step for verb, step in calls if verb in ("slots", "batch")} - set(closed)):
        yield f"It asked for the steps {idle} and never closed them. Drop that: a trainer does not evaluate."
    return ""


def _checkpoints(workdir: Path) -> list[str]:
    return sorted(p.name for p in workdir.iterdir() if CHECKPOINT.fullmatch(p.name))


def _lacks(checkpoint: Path) -> str:
    """What a checkpoint in Hugging Face layout has and this one has not; empty if nothing."""
    for config, weights in (("adapter_config.json", "adapter_model*.safetensors"), ("config.json", "*.safetensors")):
        if (checkpoint / config).exists():
            try:
                whole = isinstance(json.loads((checkpoint / config).read_text()), dict)
            except ValueError:
                whole = False
            return f"{config} that is a JSON object" * (not whole) or weights * (not any(checkpoint.glob(weights)))
    return "config.json"


def _stats(directory: Path) -> dict[str, tuple[int, int]]:
    files = directory.rglob("*") if directory.is_dir() else ()
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.is_file()}
