"""Arms with interventions: how they are written, resolved, refused and recorded. About 5 s of CPU."""

from __future__ import annotations

from typing import Any

import pytest

from loopkit.errors import UsageError
from loopkit.experiment.arms import read_arm
from loopkit.experiment.config import Experiment, RunSpec, parse_set, read_experiment
from loopkit.experiment.manifest import _interventions
from loopkit.experiment.resolve import resolve, set_up
from loopkit.registry import plugins

GAME = "context-compliance"


def specs(*arms: str, game: str = GAME, trainer: str = "grpo", settings: tuple[str, ...] = ()) -> dict[str, RunSpec]:
    asked = read_experiment(None, settings=parse_set(settings), arms=list(arms), game=game, trainer=trainer, seeds="1")
    return {spec.arm: spec for spec in resolve(asked, plugins.load())}


def test_a_name_says_what_an_arm_is_and_a_table_says_it_of_any_name() -> None:
    assert read_arm("loophole+penalty+kl", {"rate": 1}).channel == "loophole"
    assert list(read_arm("loophole+penalty+kl", {}).interventions) == ["penalty", "kl"]
    table: dict[str, Any] = {
        "channel": "loophole",
        "interventions": "kl+penalty",
        "penalty": {"weight": 3.0},
        "rate": 1,
    }
    arm = read_arm("strict", table)
    assert (arm.channel, dict(arm.options)) == ("loophole", {"rate": 1})
    assert dict(arm.interventions) == {"kl": {}, "penalty": {"weight": 3.0}}


def test_what_is_resolved_is_recorded_and_its_monitor_looks_at_every_arm() -> None:
    found = specs("loophole", "loophole+penalty", "x", settings=(
        "arms.loophole+penalty.penalty.weight=3.0", "arms.x.channel=loophole", 'arms.x.interventions=["kl"]',
    ))  # fmt: skip
    (penalty,), (kl,) = found["loophole+penalty"].interventions, found["x"].interventions
    assert (penalty.name, penalty.options["weight"], penalty.options["monitor"]) == ("penalty", 3.0, "words")
    assert kl.options == {"beta": 1.0}
    assert all(spec.detectors == ["words"] for spec in found.values()), "its rate is known where it does nothing"
    assert len({spec.family() for spec in found.values()}) == 1
    again = RunSpec.model_validate(found["loophole+penalty"].model_dump(mode="json"))
    assert again == found["loophole+penalty"]
    assert _interventions(again, plugins.load()) == {"penalty": {"changes": ["pay"], "watches": "words"}}
    setup = set_up(plugins.load(), again)
    assert (setup.headline, list(setup.detectors)[-1]) == ("compliance-gap", "words")


def test_without_interventions_nothing_of_a_spec_changes() -> None:
    data = specs("loophole")["loophole"].model_dump(mode="json")
    assert "interventions" not in data
    assert data["detectors"] == []
    assert "watch" not in Experiment(game=GAME).model_dump(mode="json")


@pytest.mark.parametrize(
    ("arms", "settings", "parts"),
    [
        (
            ("loophole+penalty",),
            ("arms.loophole+penalty.penalty.monitor=compliance-gap",),
            ("compliance-gap", "oracle"),
        ),
        (("loophole+penalty",), ("arms.loophole+penalty.penalty.monitor=wrods",), ("wrods", "words")),
        (("loophole+penalty",), ("arms.loophole+penalty.penalty.wieght=1",), ("wieght", "weight")),
        (("loophole+penalti",), (), ("penalti", "penalty")),
        (("loophole+kl",), ("arms.loophole+kl.kl.beta=0.1",), ("0.1", "Raise")),
        (("loophole+kl+kl",), (), ("twice",)),
        (("loophole",), ('arms.loophole.interventions=["kl"]',), ("loophole", "--arms loophole,loophole+kl")),
        (("loophole+clip",), ("arms.loophole+clip.clip.low=2.0",), ("low", "high")),
        (("loophole+kl",), ("arms.loophole+kl.kl=1",), ("kl", "option")),
    ],
)
def test_what_cannot_be_is_refused_with_its_cure(
    arms: tuple[str, ...], settings: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as error:
        specs(*arms, settings=settings)
    assert all(part in str(error.value) for part in parts), error.value


def test_the_headline_may_be_the_monitor_where_it_is_said() -> None:
    settings = ("arms.loophole+screen.screen.monitor=compliance-gap", "arms.loophole+screen.screen.oracle=true")
    (screen,) = specs("loophole+screen", settings=settings)["loophole+screen"].interventions
    assert screen.options["oracle"] is True


@pytest.mark.parametrize("arm", ["loophole+screen", "loophole+early-stop"])
def test_a_trainer_that_cannot_is_refused(arm: str) -> None:
    with pytest.raises(UsageError, match=r"openrlhf:grpo.*another"):
        specs(arm, trainer="openrlhf:grpo")
