"""What checks found, and how they are run.

A check is a generator of complaints; one that yields none holds. Whatever a plugin raises becomes a complaint too.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from loopkit.errors import CheckFailed, LoopkitError
from loopkit.records import Json

Complaints = Iterator[str]
MOST_COMPLAINTS = 5
RULES = {
    "declared": "Set version, axis, Options, signals, clues, channels and detectors on the game, as contracts.py says.",
    "tasks": "Make tasks() a pure function of the options and the split, with JSON in public, secret and state.",
    "secrets": "Keep secrets out of ids and messages; what the policy may see belongs in public.",
    "specimens": "Make specimens() pure, and each transcript as many turns as reply() asks for.",
    "conformance": "Make reply(), assess(), rewards() and flags() keep their declared shapes and ranges on any words.",
    "batches": "Compute each rollout from itself alone: no state on the game, no global random stream, no batch mean.",
    "draws": "Make rewards() a pure function of the signals and draw(purpose), within its range for every draw.",
    "rates": "Make rate() return an Estimate or None, also of no rollouts and of flags that all abstain.",
    "economics": "Make the loophole pay, and the control not; or mend the specimens.",
    "detector": "Make the first detector flag every exploit specimen, and no honest or null one.",
    "trainer": "Set source, deterministic and Options on the trainer, as contracts.py says.",
    "uninterrupted": "Call resume, then for each step slots, reply, settle, close, and only then save the checkpoint.",
    "resumed": "Continue from the last checkpoint in workdir, and let an exception of the referee end train().",
    "deterministic": "Key every draw by (seed, step) and save the optimizer's state; or declare deterministic = False.",
}
"""What each check holds the plugin to: the cure of anything it raises."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, or one complaint of it. ``message`` says what is wrong, and the cure."""

    check: str
    ok: bool
    message: str


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

    def holds(self, check: str, complaints: Iterable[str]) -> bool:
        found: list[str] = []
        try:
            for complaint in complaints:
                found += [complaint] if complaint not in found else []
                if len(found) == MOST_COMPLAINTS:
                    break
        except Exception as error:
            found.append(f"{blame(error)} {RULES[check]}")
        self.findings += [Finding(check, False, m) for m in found] or [Finding(check, True, f"Holds: {RULES[check]}")]
        return not found

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
