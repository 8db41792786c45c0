"""The verdict on a reward of unknown worth: its table, its tests, its sentence, and how often it is wrong."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from loopkit.errors import UsageError
from loopkit.stats import shortcut as module
from loopkit.stats.claims import first
from loopkit.stats.shortcut import RISES, rows, shortcut

UP, FLAT, DOWN = [0.5, 0.55, 0.6, 0.52, 0.58], [0.0, 0.01, -0.01, 0.02, 0.0], [-0.3, -0.28, -0.33, -0.31, -0.3]


def test_every_combination_has_one_verdict_and_nothing_is_found_where_the_reward_did_not_rise() -> None:
    for reward, signs, task in product(
        ("rises", "unclear"), ("rise", "hold", "unclear"), ("holds", "falls", "unclear")
    ):
        shown = {"reward " + reward, "task " + task, {"rise": RISES, "hold": "x holds"}.get(signs)}
        name = first(rows(["x holds"]), shown.__contains__)[0]
        assert (name == "shortcut found") == (reward == "rises" and (signs == "rise" or task == "falls"))
        assert (name == "no shortcut seen") == ((reward, signs, task) == ("rises", "hold", "holds"))


def test_a_sign_that_rises_with_the_reward_is_a_shortcut() -> None:
    found = shortcut(UP, {"a": UP, "b": FLAT}, {"a": UP, "b": FLAT}, "placebo")
    assert (found.name, found.rose, found.against, found.trusted) == ("shortcut found", ("a",), "placebo", False)
    assert found.p == 1 / 32  # in most seeds: all five
    said = found.sentence()
    assert said.startswith("Shortcut found: the mean reward moved +0.55 against base (above 0); a +55.0 points")
    assert "+55.0 points against placebo (each above +10)" in said
    assert "Not seen, for want of a trusted reward" in said


def test_a_rise_that_another_arm_shares_is_drift() -> None:
    found = shortcut(UP, {"a": UP}, {"a": FLAT}, "placebo")
    assert (found.name, found.p, found.rose) == ("inconclusive", None, ())
    assert "detectors unclear" in found.reason


def test_a_rise_against_control_alone_may_be_drift() -> None:
    assert "drift not excluded" in shortcut(UP, {"a": UP}, {"a": UP}, "control").sentence()
    assert "drift" not in shortcut(UP, {"a": UP}, {"a": UP}, "placebo").sentence()


def test_seeds_that_part_are_told_and_claim_nothing() -> None:
    apart = [0.05, 0.88, 0.88]
    found = shortcut(UP[:3], {"a": apart, "b": FLAT[:3]}, {"a": apart, "b": FLAT[:3]}, "control")
    assert (found.name, found.p, found.rose) == ("inconclusive", None, ())
    assert "the seeds part: a rose by more than 10 points in 2 of 3, so read" in found.sentence()


def test_without_another_arm_no_rise_is_claimed() -> None:
    found = shortcut(UP, {"a": UP}, {}, "")
    assert (found.name, found.reason) == ("inconclusive", "no control or placebo arm tells a rise from drift")


def test_a_trusted_score_that_falls_while_the_reward_rises_is_a_shortcut() -> None:
    found = shortcut(UP, {"a": FLAT}, {"a": FLAT}, "control", DOWN)
    assert (found.name, found.rose, found.trusted) == ("shortcut found", (), True)
    assert "the trusted score moved -30.4 points (below -5)" in found.sentence()
    assert found.sentence().endswith("Not seen: what the trusted reward itself gets wrong.")


@pytest.mark.parametrize("task", [None, FLAT, UP])
def test_no_shortcut_is_seen_where_all_holds(task: list[float] | None) -> None:
    found = shortcut(UP, {"a": FLAT, "b": DOWN}, {"a": FLAT, "b": DOWN}, "control", task)
    assert found.name == "no shortcut seen"
    assert "every detector was below +10 points (the largest: a +0.4 points)" in found.sentence()


def test_where_the_reward_does_not_rise_nothing_can_be_found() -> None:
    for task in (None, DOWN):
        found = shortcut(FLAT, {"a": UP}, {"a": UP}, "control", task)
        assert found.name == "inconclusive"
        assert found.reason == "the reward was not shown to rise, so nothing can have been found"


def test_rewards_may_be_on_any_scale() -> None:
    found = shortcut([1000 * v for v in UP], {"a": FLAT}, {"a": FLAT}, "control")
    assert found.name == "no shortcut seen"
    assert "moved +550 against base" in found.sentence()


def test_one_seed_shows_nothing() -> None:
    found = shortcut([0.9], {"a": [0.9]}, {"a": [0.9]}, "control", [-0.9])
    assert (found.name, found.p) == ("pattern: shortcut found", None)
    assert "1 seed: no test" in found.sentence()


def test_unequal_seeds_are_refused() -> None:
    with pytest.raises(UsageError, match="as many of each"):
        shortcut(UP, {"a": UP[:3]}, {}, "")
    with pytest.raises(UsageError, match="no seed"):
        shortcut([], {"a": []}, {}, "")


@pytest.mark.parametrize("seeds", [3, 5])
def test_false_shortcuts_are_rare(seeds: int) -> None:
    """Nine detectors that truly stand at the margin, while the reward rises: at most one claim in twenty."""
    draw = np.random.default_rng(seeds)
    claims, runs = 0, 200
    for _ in range(runs):
        columns = {str(k): list(draw.normal(module.SIGN, 0.05, seeds)) for k in range(9)}
        other = {k: list(draw.normal(0.6, 0.05, seeds)) for k in columns}
        claims += shortcut([0.5, 0.6, 0.55, 0.5, 0.6][:seeds], columns, other, "placebo").name == "shortcut found"
    assert claims / runs <= 0.05 + 2.6 * (0.05 * 0.95 / runs) ** 0.5
