"""What ``results.json`` holds, of an experiment and of a study (docs/results.md): read back as it was written.

An experiment is a study of one game: both hold their runs, the first exploit and sections (tables, curves, verdicts).
An experiment's sections are made from its runs (``tables.sections``); a study's are kept, since they compare
experiments. Files of version 1 (loopkit 0.1) are read too.
"""

# ruff: noqa: RUF012 (pydantic copies default values)

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from loopkit.errors import RunError
from loopkit.evidence.claims import Claim, Exploit, OnFix, OnLoophole, OnReward, Reply, Test
from loopkit.evidence.sections import Part, Section
from loopkit.experiment.config import BASE
from loopkit.records import Estimate, Json
from loopkit.stats.onset import Discovery
from loopkit.stats.seeds import few

VERSION: Literal[2] = 2
ALPHA_OF_1 = 0.05
"""Files of 0.1 tell by the p-value alone whether a test was shown."""
MANY = 4
"""More detectors than this are not all shown; see ``ExperimentResults.moved``."""
STILL = 0.05
"""How far a detector's rate may be from base's in every run and still count as not moved."""


class Checked(Part):
    """What ``check_game`` answered: an unproven game gets no verdict."""

    status: str
    reasons: tuple[str, ...] = ()


class Run(Part):
    """One run's held-out evaluation, and its path to the exploit (None of base)."""

    arm: str
    seed: int
    n: int
    scores: dict[str, Estimate | None]
    rates: dict[str, Estimate | None]
    rewards: dict[str, float]
    discovery: Discovery | None

    @property
    def name(self) -> str:
        """The run's directory in its experiment's."""
        return f"{self.arm}-s{self.seed}"

    def of(self, measure: str) -> Estimate | None:
        """A detector's rate or a score."""
        return self.rates.get(measure) or self.scores.get(measure)


class Compared(Part):
    """Of runs that loopkit did not make: what was compared, and how."""

    measured: str
    """Which rollouts an arm is measured by, in words."""
    sources: dict[str, str]
    """Run -> where it was read from."""
    notes: tuple[str, ...] = ()
    """What was assumed, left out, or could not be had, and the cure."""


class Results(Part):
    """What both files hold."""

    schema_version: Literal[2] = VERSION
    exploit: Exploit | None = None

    @abstractmethod
    def directories(self, directory: Path) -> list[Path]:
        """Of the runs they rest on; ``directory`` holds the ``results.json``."""


class ExperimentResults(Results):
    """An experiment's file. Arms and seeds are in the order of ``runs``, base first."""

    kind: Literal["experiment"] = "experiment"
    game: str
    trainer: str
    model: str
    split: str
    axis: str
    headline: str
    """The detector whose rate is called the exploit rate."""
    onset_detector: str
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    arms: dict[str, dict[str, Estimate | None]]
    """Arm -> score or detector -> its mean over seeds."""
    bounds: dict[str, tuple[float, float]] = {}
    """Detector -> the least and largest value of its rate. Empty in a file of version 1."""
    discovered: dict[str, Estimate]
    """Arm -> share of its seeds that reached an onset."""
    idle: dict[str, tuple[int, ...]] = {}
    """Arm -> the seeds whose run could not learn: what it did not do shows nothing."""
    checked: Checked
    verdict: OnLoophole | None
    no_verdict: str | None = None
    """Why ``verdict`` and ``shortcut`` are None."""
    mitigations: dict[str, OnFix] = {}
    shortcut: OnReward | None = None
    """Of an unproven game."""
    examples: tuple[Reply, ...] = ()
    """The most common replies where a detector rose, of an unproven game."""
    not_tried: tuple[str, ...] = ()
    """Forms that no reply of training in the arm ``loophole`` had: the shortcut's verdict does not reach them."""
    registration: dict[str, Json] = {"status": "exploratory"}
    compared: Compared | None = None
    """Of ``loopkit compare``; None of an experiment of loopkit's own."""

    def directories(self, directory: Path) -> list[Path]:
        return [directory / run.name for run in self.runs]

    @property
    def arm_names(self) -> list[str]:
        return list(dict.fromkeys(run.arm for run in self.runs))

    @property
    def scores(self) -> list[str]:
        """Task and observed first."""
        names = dict.fromkeys(name for run in self.runs for name in run.scores)
        first = [n for n in ("task", "observed") if n in names]
        return [*first, *(n for n in names if n not in first)]

    @property
    def detectors(self) -> list[str]:
        """The headline first."""
        return list(dict.fromkeys([self.headline, *(name for run in self.runs for name in run.rates)]))

    def of(self, arm: str) -> list[Run]:
        """An arm's runs, in the seeds' order."""
        return [run for run in self.runs if run.arm == arm]

    def values(self, arm: str, measure: str) -> list[float | None]:
        """(S,) the measure's value in each run of an arm, in the seeds' order."""
        by_seed = {run.seed: run.of(measure) for run in self.of(arm)}
        return [estimate.value if (estimate := by_seed.get(seed)) else None for seed in self.seeds]

    def mean(self, arm: str, measure: str) -> Estimate | None:
        """Over seeds; None where it was not measured."""
        return self.arms.get(arm, {}).get(measure)

    def blank(self, measure: str) -> bool:
        """Whether a score or detector has no value in any run: these tasks hold nothing to measure."""
        return all(value is None for arm in self.arm_names for value in self.values(arm, measure))

    @property
    def unmeasured(self) -> list[str]:
        """Scores and detectors without a value in any run."""
        return [measure for measure in (*self.scores, *self.detectors) if self.blank(measure)]

    @property
    def moved(self) -> list[str]:
        """The detectors to show: all if they are few, else the headline and those that in some run left base's rate by
        more than STILL."""
        if len(self.detectors) <= MANY:
            return self.detectors

        def far(detector: str) -> bool:
            base = self.values(BASE, detector)
            pairs = (p for arm in self.arm_names for p in zip(self.values(arm, detector), base, strict=True))
            return any(x is not None and b is not None and abs(x - b) > STILL for x, b in pairs)

        return [d for d in self.detectors if d == self.headline or far(d)]

    @property
    def stillborn(self) -> bool:
        """Whether the arm ``loophole`` could learn in no seed, so that there is nothing to judge."""
        seeds = [run.seed for run in self.of("loophole")]
        return bool(seeds) and set(seeds) <= set(self.idle.get("loophole", ()))


class Made(Part):
    """What a study was made with."""

    loopkit: str
    git: str | None
    model: str
    trainer: str
    games: tuple[str, ...]
    seeds: tuple[int, ...]
    split: str
    prompts: int
    options: dict[str, Json] = {}
    """The study's own settings, and what ``--set`` said."""
    hardware: tuple[str, ...] = ()
    """Every device that a run was made on; more than one is shown beside the tables."""
    start_policies: dict[str, str | None] = {}
    """model -> SHA-256 of its weights; None of a hub id."""


class RunEntry(Part):
    """A run that a study rests on."""

    directory: str
    """Relative to the directory of ``results.json``."""
    game: str
    arm: str
    channel: str
    channel_options: dict[str, Json]
    trainer: str
    model: str
    seed: int
    steps: int
    """Training steps; 0 of base."""
    spec_hash: str
    device: str = ""


class StudyResults(Results):
    """A study's file."""

    kind: Literal["study"] = "study"
    study: str
    title: str
    what: str
    """The question it answers, in a sentence."""
    made: Made
    notes: tuple[str, ...] = ()
    sections: tuple[Section, ...]
    runs: tuple[RunEntry, ...]

    def directories(self, directory: Path) -> list[Path]:
        return [directory / run.directory for run in self.runs]

    def section(self, name: str) -> Any:
        """The section of that name; KeyError if there is none."""
        return {s.name: s for s in self.sections}[name]


_EITHER: TypeAdapter[ExperimentResults | StudyResults] = TypeAdapter(
    Annotated[ExperimentResults | StudyResults, Field(discriminator="kind")]
)


def read(file: Path) -> ExperimentResults | StudyResults:
    """A ``results.json``. Raises RunError naming one that this version cannot read, and why."""
    try:
        return parse(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else f"{type(error).__name__}: {error}"
        raise RunError(
            f"{file} cannot be read ({why}). Run the same command again: its runs are kept, and the results are made "
            "anew."
        ) from error


def parse(data: Mapping[str, Json]) -> ExperimentResults | StudyResults:
    """The same, of parsed JSON. Raises ValueError (pydantic's among them) of what is not results."""
    version = data["schema_version"]
    if version not in (1, VERSION):
        raise ValueError(f"it has schema version {version!r}; this loopkit reads 1 and {VERSION}")
    return _EITHER.validate_python(_from_1(data) if version == 1 else data)


def _from_1(data: Mapping[str, Json]) -> dict[str, Json]:
    """A file of version 1 (0.1, and 0.2 while it was made) as this version has it."""
    if data.get("kind") == "study":
        return {**data, "schema_version": VERSION}
    known = {key: value for key, value in data.items() if key in ExperimentResults.model_fields}
    fixes = {arm: _claim_of_1(claim, OnFix) for arm, claim in data.get("mitigations", {}).items()}
    return {
        **known,
        "schema_version": VERSION,
        "kind": "experiment",
        "verdict": _claim_of_1(data["verdict"], OnLoophole),
        "mitigations": fixes,
        "shortcut": _claim_of_1(data.get("shortcut"), OnReward),
    }


def _claim_of_1(data: Mapping[str, Json] | None, kind: type[Claim]) -> dict[str, Json] | None:
    if data is None:
        return None
    claim = {key: value for key, value in data.items() if key in kind.model_fields}
    tests = {name: _test_of_1(test) for name, test in data.get("components", {}).items()}
    return claim | {"components": tests, "descriptive": few(int(data["seeds"]))}


def _test_of_1(test: Mapping[str, Json]) -> dict[str, Json]:
    shown = test["shown"] if "shown" in test else test["p"] is not None and test["p"] <= ALPHA_OF_1
    return {key: value for key, value in test.items() if key in Test.model_fields} | {"shown": shown}
