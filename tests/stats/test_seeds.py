"""Estimates and tests over seeds."""

from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from loopkit.errors import UsageError
from loopkit.stats.seeds import (
    clopper_pearson,
    discovered,
    mean_over_seeds,
    one_sided_p,
    sign_p,
    smallest_visible,
    unseen,
)


def test_clopper_pearson_published():
    """81 of 263 (Newcombe, Stat. Med. 1998, 17:857, table I), and the closed form at the ends."""
    assert clopper_pearson(81, 263) == pytest.approx((0.2527, 0.3676), abs=5e-5)
    assert clopper_pearson(0, 5) == (0.0, pytest.approx(1 - 0.025 ** (1 / 5)))
    assert clopper_pearson(5, 5) == (pytest.approx(0.025 ** (1 / 5)), 1.0)


def test_discovered_counts_what_is_not_censored():
    e = discovered([12, None, 0, 7, None])
    assert (e.value, e.n, e.clusters) == (0.6, 5, 5)
    assert (e.low, e.high) == clopper_pearson(3, 5)
    assert "3 of 5" in e.method


def test_mean_is_students():
    values = [0.1, 0.4, 0.35, 0.6, 0.2, 0.5]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    e = mean_over_seeds(values)
    assert (e.low, e.high) == pytest.approx((expected.low, expected.high))
    assert (e.n, e.clusters, e.method) == (6, 6, "t over seeds")


def test_no_interval_runs_past_the_end_of_the_scale():
    skewed = [0.0, 0.0, 0.0, 0.01, 0.2]
    assert mean_over_seeds(skewed).low < 0
    e = mean_over_seeds(skewed, bounds=(0.0, 1.0))
    assert (e.low, e.high, e.method) == (
        None,
        None,
        "withheld: past the end of the scale, the seeds are skewed or split",
    )
    inside = [0.5, 0.6, 0.55, 0.52, 0.58]
    assert mean_over_seeds(inside, bounds=(0.0, 1.0)) == mean_over_seeds(inside)


@pytest.mark.parametrize(
    ("values", "why"),
    [([0.3], "withheld: one seed"), ([0.3] * 4, "withheld: all seeds equal"),
     ([0.3, 0.4, 0.31, 0.35], "withheld: fewer than 5 seeds")],
)  # fmt: skip
def test_intervals_that_say_nothing_are_withheld(values, why):
    e = mean_over_seeds(values)
    assert (e.value, e.low, e.high, e.method) == (pytest.approx(fmean(values)), None, None, why)


def test_no_seeds_is_an_error():
    with pytest.raises(UsageError, match="no seed"):
        mean_over_seeds([])
    with pytest.raises(UsageError, match="no seed"):
        discovered([])


def test_the_mean_of_paired_differences_is_the_paired_t_test():
    a, b = [0.9, 0.8, 0.95, 0.7, 0.85], [0.2, 0.3, 0.1, 0.25, 0.3]
    expected = stats.ttest_rel(a, b).confidence_interval()
    e = mean_over_seeds([x - y for x, y in zip(a, b, strict=True)])
    assert (e.low, e.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("side", ["greater", "less"])
def test_one_sided_p_is_scipys(side):
    d = [0.2, 0.05, 0.15, 0.12]
    assert one_sided_p(d, 0.1, side) == pytest.approx(stats.ttest_1samp(d, 0.1, alternative=side).pvalue)


def test_one_sided_p_without_spread():
    assert one_sided_p([0.5], 0.1, "greater") == 1.0
    assert 0 < one_sided_p([0.5, 0.5, 0.5], 0.1, "greater") < 0.001
    assert one_sided_p([0.1, 0.1, 0.1], 0.1, "greater") == pytest.approx(0.5)
    assert one_sided_p([0.1004] * 3, 0.1, "greater") > 0.05  # closer to the margin than seeds can be told apart


def test_p_values_are_uniform_on_the_margin():
    draws = np.random.default_rng(4).normal(0.1, 0.2, (500, 4))
    p = [one_sided_p(row.tolist(), 0.1, "greater") for row in draws]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.03 <= np.mean(np.array(p) <= 0.05) <= 0.07


def test_smallest_visible_has_the_power_it_claims():
    d = [0.1, 0.3, 0.2, 0.05, 0.25]
    shift = smallest_visible(d)
    draws = np.random.default_rng(5).normal(0.1 + shift, np.std(d, ddof=1), (1000, 5))
    shown = np.mean([one_sided_p(row.tolist(), 0.1, "greater") <= 0.05 for row in draws])
    assert 0.76 <= shown <= 0.84


def test_smallest_visible_at_the_ends():
    assert smallest_visible([0.1]) is None
    assert smallest_visible([0.1, 0.1]) > 0
    assert smallest_visible([0.0, 0.1] * 100) < smallest_visible([0.0, 0.1] * 2) < smallest_visible([0.0, 0.1])


def test_the_sign_test_counts_seeds():
    d = [0.2, 0.3, 0.15, 0.4, 0.12]
    assert sign_p(d, 0.1, "greater") == stats.binomtest(5, 5, alternative="greater").pvalue == pytest.approx(1 / 32)
    assert sign_p(d, 0.13, "greater") == pytest.approx(6 / 32)
    assert (
        sign_p([0.1, 0.2], 0.1, "greater") == sign_p([0.0, 0.1], 0.1, "less") == pytest.approx(3 / 4)
    )  # a tie is none


def test_unseen_is_the_exact_limit_of_none():
    for s in (3, 5, 10):
        assert unseen(s) == pytest.approx(stats.binomtest(0, s).proportion_ci(0.9, "exact").high, abs=1e-6)
