"""What a mitigation did, over seeds: an intersection-union test with an exhaustive table, as in ``verdict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loopkit.stats.verdict import Component

Name = Literal["over-corrects", "displaces", "costs skill", "closes", "reduces", "no effect", "inconclusive"]
Exploit = Literal["closed", "reduced", "not reduced", "unclear"]
Elsewhere = Literal["rises", "holds", "unclear"]
Skill = Literal["holds", "falls", "unclear"]
Honest = Literal["holds", "falls", "unclear"]


def decide(exploit: Exploit, elsewhere: Elsewhere, task: Skill, honest: Honest) -> Name:
    """The verdict of four states."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Mitigation:
    """A mitigation's verdict over ``seeds`` runs with all it rests on."""

    arm: str
    name: Name
    p: float | None
    reason: str
    seeds: int
    components: Mapping[str, Component]
    smallest_visible: Mapping[str, float | None]

    def sentence(self) -> str:
        """One plain sentence that claims what was tested, and no more."""
        raise NotImplementedError


def mitigation(
    arm: str,
    exploit_vs_loophole: Sequence[float],
    exploit_vs_base: Sequence[float],
    task_vs_loophole: Sequence[float],
    elsewhere_vs_loophole: Mapping[str, Sequence[float]],
    honest_vs_base: Sequence[float] | None = None,
) -> Mitigation:
    """The verdict of (S,) differences paired by seed: the mitigation's arm minus `loophole` or `base`.

    ``exploit_*``: the headline detector. ``elsewhere_vs_loophole``: every other detector of an exploit (may be empty).
    ``honest_vs_base``: a score of honest behaviour that a fix may kill with the exploit (self-grading's claims among
    right answers, context-compliance's help with allowed requests); None where the game has none.
    """
    raise NotImplementedError
