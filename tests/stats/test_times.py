"""Steps that may never come: restricted means, the exact test, catalysis, discovery paths."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from loopkit.errors import UsageError
from loopkit.stats.onset import Discovery
from loopkit.stats.times import catalysis, faster, paths, times

SOON, LATE, NEVER = [5, 6, 7, 8, 9], [20, 25, 30, 28, 22], [None] * 5


def test_a_censored_run_counts_as_the_horizon():
    found = times([5, None, 10, 15], 40)
    assert found.restricted_mean == pytest.approx((5 + 40 + 10 + 15) / 4)
    assert (found.median, found.first, found.last, found.horizon) == (10, 5, None, 40)
    assert found.reached.method == "clopper-pearson, 3 of 4 seeds"


@pytest.mark.parametrize(
    ("steps", "median"), [([5, None, None], None), ([5, 9, None], 9), ([5, None], 5), (NEVER, None)]
)
def test_the_median_is_censored_where_most_are(steps, median):
    """scipy's product-limit estimate first reaches one half there."""
    found = times(steps, 40).median
    assert found == median
    data = stats.CensoredData(uncensored=[s for s in steps if s is not None], right=[40 for s in steps if s is None])
    curve = stats.ecdf(data).sf
    assert found == next((q for q, p in zip(curve.quantiles, curve.probabilities, strict=True)
                          if p <= 0.5 + 1e-12 and q < 40), None)  # fmt: skip


def test_no_seed_and_impossible_steps_are_errors():
    with pytest.raises(UsageError, match="no seed"):
        times([], 40)
    for step in (41, -1):
        with pytest.raises(UsageError, match="outside the run's 0"):
            times([step], 40)
        with pytest.raises(UsageError, match="outside the run's 0"):
            faster([3], [step], 40)


@pytest.mark.parametrize("seed", range(5))
def test_faster_is_the_share_of_regroupings(seed):
    rng = np.random.default_rng(seed)
    a, b = ([None if rng.random() < 0.3 else int(rng.integers(0, 9)) for _ in range(s)] for s in (3, 4))
    pool = [9 if s is None else s for s in [*a, *b]]
    sums = [sum(pool[i] for i in group) for group in combinations(range(7), 3)]
    found = faster(a, b, 9)
    assert found.p == pytest.approx(np.mean([s <= sum(pool[:3]) for s in sums]))
    assert found.least_p == pytest.approx(1 / 35)


@pytest.mark.parametrize(("s", "least"), [(2, 1 / 6), (3, 1 / 20), (5, 1 / 252)])
def test_what_so_few_seeds_can_show(s, least):
    found = faster(SOON[:s], LATE[:s], 40)
    assert found.p == found.least_p == pytest.approx(least)
    assert found.difference < 0
    assert faster(LATE[:s], SOON[:s], 40).p == 1.0
    assert faster(NEVER[:s], NEVER[:s], 40).p == 1.0
    assert faster(SOON[:s], NEVER[:s], 40).p == pytest.approx(least)


def test_many_seeds_take_the_rank_sum_test():
    a, b = list(range(12)), list(range(3, 15))
    assert faster(a, b, 40).p == pytest.approx(stats.mannwhitneyu(a, b, alternative="less", method="asymptotic").pvalue)


def starts(s):
    return {k: [0.1] * s for k in ("after A", "alone", "after control-A")}


def test_catalysis_needs_both_comparisons():
    found = catalysis(SOON, LATE, LATE, 40, starts(5))
    assert (found.name, found.p) == ("catalysed", pytest.approx(1 / 252))
    assert catalysis(SOON, LATE, SOON, 40, starts(5)).name == "not shown"
    assert catalysis(SOON, SOON, LATE, 40, starts(5)).name == "not shown"
    assert found.start_rates["alone"].value == pytest.approx(0.1)
    assert found.sentence() == (
        "Catalysed: onset of B after A, alone, and after control-A: restricted means 7.0, 25.0, 25.0 steps (reached "
        "within 40 steps by 5, 5, 5 of 5 seeds; exploit rate at the start 10.0, 10.0, 10.0 %; p = 0.004)."
    )


def test_catalysis_says_what_two_seeds_cannot_show():
    found = catalysis(SOON[:2], LATE[:2], NEVER[:2], 40, starts(2))
    assert found.name == "not shown"
    assert "so few seeds cannot go below p = 0.167" in found.sentence()


def test_paths_keep_what_is_censored():
    found = paths(
        [Discovery(5, 10, 2, 8), Discovery(7, None, 1, None), Discovery(None, None, None, None)],
        20,
        [[0.5] * 11 + [0.0] * 9, [0.2] * 20, [None] * 20],
    )
    assert found.first_exploit.restricted_mean == pytest.approx((2 + 1 + 20) / 3)
    assert found.onset.reached.value == pytest.approx(2 / 3)
    assert (found.domination.median, found.steps_to_domination.first) == (None, 8)
    assert found.mixed_groups.value == pytest.approx((0.5 + 0.2) / 2)  # up to domination; the third says nothing
    assert paths([Discovery(None, None, None, None)], 20).mixed_groups is None
    with pytest.raises(UsageError, match="of every run, or of none"):
        paths([Discovery(5, 10, 2, 8)] * 2, 20, [[0.5]])
