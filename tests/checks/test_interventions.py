"""``check_intervention``: bundled ones are proven, broken ones are told what is wrong. About 5 s of CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from loopkit_grpo.trainer import Grpo

from loopkit.checks import check_intervention
from loopkit.checks.report import INTERVENTION_RULES
from loopkit.contracts import Draw
from loopkit.interventions import Flag, Intervention
from loopkit.records import Json, Message
from loopkit.registry import plugins
from tests.toys import DOUBLING


@pytest.mark.parametrize("name", plugins.load().names("interventions"))
def test_every_bundled_one_is_proven(name: str) -> None:
    report = check_intervention(
        plugins.load().get("interventions", name).load(), game=DOUBLING, trainer=Grpo, name=name
    )
    assert report.status == "proven", report.reasons
    assert [f.check for f in report.findings] == list(INTERVENTION_RULES)


class Idle(Intervention):
    """Does nothing."""


class Ranking(Intervention):
    """Pays by rank in the batch."""

    def pay(self, rewards: Sequence[float], flags: Sequence[Flag], draws: Sequence[Draw]) -> list[float]:
        return [float(sorted(rewards).index(r)) for r in rewards]


class First(Intervention):
    """Keeps the first half of a batch."""

    def keep(self, flags: Sequence[Flag], draws: Sequence[Draw]) -> list[bool]:
        return [i < len(flags) / 2 for i in range(len(flags))]


class Bare(Intervention):
    """Drops what the game said of decoding."""

    def prompt(self, messages: Sequence[Message]) -> Sequence[Message]:
        return [Message(m.role, m.content + "!") for m in messages]


class Odd(Intervention):
    """Sets an option that no trainer has."""

    def trainer(self, options: Mapping[str, Json]) -> Mapping[str, Json]:
        return {"bteta": 1.0}


class Eager(Intervention):
    """Ends at once."""

    def stop(self, rates: Sequence[float | None]) -> bool:
        return True


BROKEN: dict[str, tuple[type[Any], str, str]] = {
    "idle": (Idle, "intervention", "changes nothing"),
    "by rank": (Ranking, "pay", "draw alone"),
    "by place": (First, "keep", "draw alone"),
    "bare": (Bare, "prompt", "decode"),
    "odd": (Odd, "settings", "options"),
    "eager": (Eager, "stop", "measured"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_ones_are_told(name: str) -> None:
    cls, check, part = BROKEN[name]
    report = check_intervention(cls, game=DOUBLING, trainer=Grpo)
    assert report.status == "fails"
    assert next(f.check for f in report.findings if not f.ok) == check
    assert part in report.reasons[0]


def test_every_check_is_failed_by_one() -> None:
    assert {check for _, check, _ in BROKEN.values()} == INTERVENTION_RULES.keys()
