"""What was claimed and what was said, as ``results.json`` holds them; what is claimed is computed in ``stats``."""

# ruff: noqa: RUF012 (pydantic copies default values)

from __future__ import annotations

from loopkit.evidence.sections import Part
from loopkit.records import Estimate
from loopkit.stats.breakthrough import Breakthrough
from loopkit.stats.verdict import Margins


class Said(Part):
    """One rollout as it was said: ``dialogue`` is (role, text) from the opening messages on, ``paid`` its reward."""

    task: str
    dialogue: tuple[tuple[str, str], ...]
    flagged: bool
    paid: float | None
    """None: of a run made elsewhere, whose reward was not logged."""


class Exploit(Part):
    """The first exploit in an arm's held-out evaluation. ``said``: the flagged rollout, or (unflagged, flagged)."""

    detector: str
    arm: str
    seed: int
    said: tuple[Said, ...]


class Reply(Part):
    """A reply said ``count`` times among ``of``, the detectors that flag it, and one of its prompts in one run."""

    said: str
    count: int
    of: int
    flagged: tuple[str, ...]
    seed: int
    asked: str
    reward: float
    task: float | None


class Test(Part):
    """One test of a claim: the mean difference over seeds, and whether it was shown (``stats.claims.Component``)."""

    __test__ = False  # pytest: this is not a test of ours

    estimate: Estimate
    p: float | None
    seen: tuple[bool, ...] = ()
    shown: bool
    smallest_visible: float | None = None


class Claim(Part):
    """What was claimed over seeds, in a word and a sentence, and the tests it rests on (``stats.claims.Claim``)."""

    name: str
    p: float | None = None
    sentence: str
    seeds: int = 0
    missing: int = 0
    agree: int | None = None
    """None of a file of version 1."""
    reach: float | None = None
    reason: str = ""
    unseen: float | None = None
    descriptive: bool = True
    components: dict[str, Test] = {}


class OnLoophole(Claim):
    """What training on the loophole did (``stats.verdict.Verdict``)."""

    margins: Margins | None = None
    placebo: bool | None = None
    breakthrough: Breakthrough | None = None
    refused: dict[str, str] = {}
    smallest_visible: dict[str, float | None] = {}
    skill_lost: Estimate | None = None


class OnFix(Claim):
    """What an arm that is to mend the loophole did (``stats.mitigation.Mitigation``)."""

    arm: str = ""
    unjudged: tuple[str, ...] = ()
    monitors: tuple[str, ...] = ()


class OnReward(Claim):
    """Whether training on a reward of unknown worth found a shortcut (``stats.shortcut.Shortcut``)."""

    against: str
    rose: tuple[str, ...]
    unseen_because: str = ""
