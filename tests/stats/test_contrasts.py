"""Differences over seeds, families of them, and the shadow matrix."""

import pytest
from scipy import stats

from loopkit.errors import UsageError
from loopkit.records import Estimate
from loopkit.stats.contrasts import compare, contrast, holm, minus

A, B, C = [0.9, 0.8, 0.95, 0.7, 0.85], [0.2, 0.3, 0.1, 0.25, 0.3], [0.25, 0.3, 0.12, 0.2, 0.28]


@pytest.mark.parametrize("side", ["two", "greater", "less"])
def test_a_contrast_is_the_paired_t_test(side):
    names = {"two": "two-sided", "greater": "greater", "less": "less"}
    expected = stats.ttest_rel(A, B, alternative=names[side])
    found = contrast(A, B, side=side)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.sign_p == pytest.approx(stats.binomtest(5, 5, alternative=names[side]).pvalue)
    ends = stats.ttest_rel(A, B).confidence_interval()
    assert (found.estimate.low, found.estimate.high) == pytest.approx((ends.low, ends.high))
    assert found.p_adjusted is None
    assert found.smallest_visible > 0


def test_a_contrast_of_few_seeds_has_p_and_no_interval():
    found = contrast(A[:3], B[:3])
    assert found.estimate.method == "withheld: fewer than 5 seeds"
    assert found.p < 0.05 < found.sign_p
    with pytest.raises(UsageError, match="paired by seed"):
        contrast(A, B[:3])
    with pytest.raises(UsageError, match="no seed"):
        contrast([], [])


def test_holm_steps_down():
    """Adjusted by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 raised to the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_trainers_are_compared_as_one_family():
    found = compare({"a": A, "b": B, "c": C})
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [c.p_adjusted for c in found.values()] == holm([c.p for c in found.values()])
    assert list(compare({"a": A, "b": B, "c": C}, against="b")) == [("a", "b"), ("c", "b")]
    assert compare({"a": A, "b": B}, against="b")["a", "b"].p_adjusted == contrast(A, B).p
    with pytest.raises(UsageError, match="no 'z' among a"):
        compare({"a": A}, against="z")


def test_minus_is_newcombes_unpaired():
    """Newcombe, Stat. Med. 1998, 17:873, table II, method 10: 56/70 - 48/80."""
    from loopkit.stats.rates import wilson

    a, b = (Estimate(k / n, *wilson(k, n), n, n, "wilson") for k, n in ((56, 70), (48, 80)))
    found = minus(a, b)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert (found.n, found.clusters) == (150, 70)
    nothing = Estimate(0.5, None, None, 8, 1, "withheld: one cluster")
    assert minus(a, nothing).method == minus(nothing, a).method == "withheld: one cluster"
    assert minus(a, nothing).low is None
