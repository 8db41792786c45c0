"""What checks found, and how they are run.

A check is a generator of complaints that returns what it counted; one that yields none holds. Whatever a plugin raises
becomes a complaint too.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from loopkit.errors import CheckFailed, JudgeError, LoopkitError, MissingExtra, UsageError
from loopkit.records import Json

Complaints = Generator[str, None, str]
MOST_COMPLAINTS = 5


class Rule(NamedTuple):
    """What a check proves where it holds, and the cure of whatever it raises."""

    proves: str
    cure: str


GAME_RULES = {
    "declared": Rule(
        "version, axis, signals, clues, channels, detectors and tiny.settings are set and fit together",
        "Set version, axis, Options, signals, clues, channels and detectors on the game, as contracts.py says.",
    ),
    "options": Rule(
        "options of the game, its channels and detectors are strict, frozen and survive run.toml",
        "Derive options from loopkit.Options, with fields of JSON's types.",
    ),
    "tasks": Rule(
        "tasks() is pure; ids are unique; splits share no prompt and no cluster; contents survive JSON and files",
        "Make tasks() a pure function of the options and the split, with JSON in public, secret and state.",
    ),
    "specimens": Rule(
        "specimens() and demonstrations() are pure, of known kinds, and end the game exactly",
        "Make specimens() pure, and each transcript as many turns as reply() asks for.",
    ),
    "conformance": Rule(
        "on specimens and garbage reply() ends, and scores, signals, clues, rewards and flags are as declared",
        "Make reply(), assess(), rewards() and flags() keep their declared shapes and ranges on any words.",
    ),
    "secrets": Rule(
        "no string of 6 or more characters in a task's secret stands in its id, its messages or a reply",
        "Keep secrets out of ids and messages; what the policy may see belongs in public.",
    ),
    "batches": Rule(
        "asked again, reversed, in halves, doubled or one by one: the same answers, and no rollout is changed",
        "Compute each rollout from itself alone: no state on the game, no global random stream, no batch mean.",
    ),
    "json": Rule(
        "rollouts that went to JSON and back are answered and scored the same",
        "Keep all that reply() and assess() need in the rollout, as plain JSON: no subclasses, no object identity.",
    ),
    "slots": Rule(
        "two referees, asked in other orders and under other names, pose the same slots in whole clusters "
        "and settle the same rewards, however often they are asked",
        "Make tasks(), reply() and assess() pure, and clusters of one size (or let the sizes divide a step).",
    ),
    "draws": Rule(
        "rewards() is pure in signals and draws, and within range at both ends of the draws",
        "Make rewards() a pure function of the signals and draw(purpose), within its range for every draw.",
    ),
    "rates": Rule(
        "an overridden rate() gives an Estimate within its bounds or None, in any order, also of nothing",
        "Make rate() return an Estimate or None, also of no rollouts and of flags that all abstain.",
    ),
    "economics": Rule(
        "on average each exploit specimen beats an honest one of its task on loophole, and none the best on control",
        "Make the loophole pay, and the control not; or mend the specimens.",
    ),
    "detector": Rule(
        "the first detector flags every exploit specimen, and no honest or null one",
        "Make the first detector flag every exploit specimen, and no honest or null one.",
    ),
    "processes": Rule(
        "a new process with other string hashes finds the same tasks, specimens, replies, scores, rewards and flags",
        "Sort what comes from a set, use seeding.digest in place of hash(), draw by key, and set no globals.",
    ),
}
TRAINER_RULES = {
    "trainer": Rule(
        "source, deterministic and Options are set; options are strict and frozen",
        "Set source, deterministic and Options on the trainer, as contracts.py says.",
    ),
    "uninterrupted": Rule(
        "the order of calls; every step closed once and whole, with finite metrics; only the referee's members are "
        "used; checkpoints in Hugging Face layout inside workdir; the start policy is left alone",
        "Call resume, then for each step slots, reply, settle, close, and only then save the checkpoint.",
    ),
    "resumed": Rule(
        "killed before a step is recorded, it continues from its newest checkpoint; nothing is lost or doubled",
        "Continue from the last checkpoint in workdir, and let an exception of the referee end train().",
    ),
    "restarted": Rule(
        "killed between the record and the checkpoint, a new process with other string hashes continues it",
        "Continue from the last checkpoint in workdir; keep in it all that the next step needs.",
    ),
    "served": Rule(
        "against a served referee whose every answer is lost once, it leaves the same records",
        "Use the referee's five verbs and three sizes alone, with rollout names of the trainer's own choosing.",
    ),
    "deterministic": Rule(
        "if it says so: the same files and records in each of these ways",
        "Key every draw by (seed, step) and save the optimizer's state; or declare deterministic = False.",
    ),
}
INTERVENTION_RULES = {
    "intervention": Rule(
        "it changes something, says what, and its options are strict, frozen, have defaults and survive run.toml",
        "Derive it from loopkit.Intervention, with a docstring and fields that have defaults.",
    ),
    "pay": Rule(
        "pay() gives each rollout a finite reward: asked again, reversed, in halves or one by one, the same",
        "Make pay() a pure function of each rollout's reward, flag and draw.",
    ),
    "keep": Rule(
        "keep() answers for each rollout, and the same in any order and batch",
        "Make keep() a pure function of each rollout's flag and draw.",
    ),
    "prompt": Rule(
        "prompt() is pure, and leaves the last message's role, decode and state",
        "Return the messages with words added, by dataclasses.replace(message, content=…).",
    ),
    "settings": Rule(
        "trainer() changes options that the trainer has, to values they can have",
        "Return changed options by name, or raise loopkit.errors.UsageError where it cannot be done.",
    ),
    "stop": Rule(
        "stop() is pure, answers True or False, and does not end a run of which nothing was measured",
        "Make stop() a pure function of the rates so far.",
    ),
}
RULES: Mapping[str, Rule] = {**GAME_RULES, **TRAINER_RULES, **INTERVENTION_RULES}
"""By check, in the order in which they are made."""


class LeftOut(Exception):
    """Raised by a check that cannot be made here; says why."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, or one complaint of it.

    ``message`` says what is wrong and the cure; of a check that holds, what was proven, and over how much. A check
    that could not be made is ``ok`` and ``left_out``; the message says why.
    """

    check: str
    ok: bool
    message: str
    left_out: bool = False


@dataclass(frozen=True)
class Report:
    """What the checks found. ``reasons``: why it is not proven (of "fails", the complaints)."""

    name: str
    status: Literal["proven", "unproven", "fails"]
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...] = ()

    def json(self) -> dict[str, Json]:
        """JSON, for ``loopkit check --json`` and the run directory."""
        return {**asdict(self), "reasons": list(self.reasons), "findings": [*map(asdict, self.findings)]}

    @staticmethod
    def read(data: Mapping[str, Json]) -> Report:
        """What ``json`` wrote."""
        findings = tuple(Finding(**f) for f in data["findings"])
        return Report(data["name"], data["status"], findings, tuple(data["reasons"]))

    def raise_if_failed(self) -> None:
        """Raises CheckFailed with every complaint; "unproven" passes."""
        if self.status == "fails":
            raise CheckFailed("\n  ".join([f"{self.name} fails its checks.", *self.reasons]))


class Book:
    """Runs checks and keeps their findings."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.findings: list[Finding] = []

    def holds(self, check: str, complaints: Complaints, passing: tuple[type[Exception], ...] = ()) -> bool:
        """Whether a check holds; ``passing`` are exceptions that are not the plugin's fault, and are let through."""
        distinct: dict[str, None] = {}
        counted = ""

        def made() -> Generator[str, None, None]:
            nonlocal counted
            counted = yield from complaints

        try:
            for complaint in made():
                distinct[complaint] = None
                if len(distinct) == MOST_COMPLAINTS:
                    break
        except (JudgeError, MissingExtra):
            raise
        except passing:
            raise
        except LeftOut as reason:
            self.findings.append(Finding(check, True, f"Left out: {reason}", left_out=True))
            return True
        except Exception as error:
            distinct[blame(error) if isinstance(error, UsageError) else f"{blame(error)} {RULES[check].cure}"] = None
        held = f"{RULES[check].proves}: {counted}." if counted else f"{RULES[check].proves}."
        self.findings += [Finding(check, False, m) for m in distinct] or [Finding(check, True, held)]
        return not distinct

    def report(self, unproven: Sequence[str] = ()) -> Report:
        failed = tuple(f"{f.check}: {f.message}" for f in self.findings if not f.ok)
        status: Literal["proven", "unproven", "fails"] = "fails" if failed else "unproven" if unproven else "proven"
        return Report(self.name, status, tuple(self.findings), failed or tuple(unproven))


def blame(error: BaseException) -> str:
    """loopkit's own errors name who is at fault; of any other, the line that raised it does."""
    if isinstance(error, LoopkitError):
        return str(error)
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (raised at {Path(at.filename).name}:{at.lineno}, in {at.name})."
