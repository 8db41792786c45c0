"""Planning: more seeds and more prompts are never worse by much, and what is promised holds in the claims' engine."""

from __future__ import annotations

import numpy as np
import pytest

from loopkit.errors import UsageError
from loopkit.stats.claims import MarginTest, judge
from loopkit.stats.power import Assumed, earlier, fewest, power

FAR = Assumed(difference=0.75, spread=0.05, margin=0.1, rates=(0.8, 0.05))
NEAR = Assumed(difference=0.2, spread=0.1, margin=0.1, rates=(0.3, 0.1))


def test_a_large_effect_needs_five_seeds_and_none_is_shown_by_fewer() -> None:
    assert fewest(FAR, 200) == 5
    assert power(FAR, 4, 5000) == 0


def test_an_effect_at_its_margin_is_claimed_as_rarely_as_the_test_errs() -> None:
    at = Assumed(0.1, 0.1, 0.1, (0.2, 0.1))
    assert all(power(at, s, 2000) <= 0.05 for s in (5, 8, 10, 20))
    assert fewest(at, 2000) is None


def test_more_prompts_show_more_where_evaluation_is_the_noise() -> None:
    noisy = Assumed(0.16, 0.01, 0.1, (0.26, 0.1))
    assert power(noisy, 5, 200) + 0.2 < power(noisy, 5, 2000)


@pytest.mark.parametrize("seeds", [5, 10])
def test_the_power_is_that_of_the_engine_of_claims(seeds: int) -> None:
    rng, prompts = np.random.default_rng(1), 1000
    sd = (NEAR.spread**2 + NEAR.noise(prompts) ** 2) ** 0.5
    tests, rows = {"up": MarginTest("x", "greater", NEAR.margin)}, [("up", ("up",)), ("none", ())]
    drawn = rng.normal(NEAR.difference, sd, (400, seeds))
    made = np.mean([judge(rows, tests, {"x": x.tolist()}).name == "up" for x in drawn])
    assert made == pytest.approx(power(NEAR, seeds, prompts), abs=0.08)


def test_earlier_runs_give_spread_without_the_noise_of_their_evaluation() -> None:
    own, other = [0.8, 0.7, 0.9, 0.75, 0.85], [0.1, 0.1, 0.1, 0.1, 0.1]
    seen = earlier(own, other, 2000, 0.1)
    assert seen.difference == pytest.approx(0.7)
    assert 0.07 < seen.spread < np.std(own, ddof=1)
    assert earlier(own, other, 2000, 0.1, 0.3).difference == 0.3
    assert earlier([0.5, 0.51, 0.49], [0.1] * 3, 50, 0.1).spread == 0  # all of it is noise
    with pytest.raises(UsageError, match="3 seeds"):
        earlier([0.5, 0.6], [0.1, 0.1], 2000, 0.1)
