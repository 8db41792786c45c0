"""Dose curves: Page's test with the seed as block, slopes, crossings."""

from itertools import permutations

import numpy as np
import pytest

from loopkit.errors import UsageError
from loopkit.stats.dose import crossing, trend

DOSES = [0.0, 0.1, 0.3, 0.5]
FALLS = [[0.9, 0.8, 0.4, 0.1], [0.95, 0.7, 0.5, 0.2], [0.85, 0.8, 0.3, 0.0]]


def test_page_is_the_share_of_orders():
    """All (3!)^2 orders of two seeds, counted."""
    rates = [[0.1, 0.2, 0.3], [0.5, 0.4, 0.9]]
    ranks = [[1, 2, 3], [2, 1, 3]]
    page = [sum(r * j for row in pair for j, r in enumerate(row, 1))
            for pair in ((a, b) for a in permutations(range(1, 4)) for b in permutations(range(1, 4)))]  # fmt: skip
    here = sum(r * j for row in ranks for j, r in enumerate(row, 1))
    found = trend([1, 2, 3], rates, "rises")
    assert found.p == pytest.approx(np.mean([x >= here for x in page]))
    assert found.least_p == pytest.approx(1 / 36)


def test_a_fall_is_shown_in_the_direction_named():
    found = trend(DOSES, FALLS, "falls")
    assert found.p == found.least_p == pytest.approx(24**-3)
    assert trend(DOSES, FALLS, "rises").p > 0.99
    assert found.slope.value == pytest.approx(np.mean([np.polyfit(DOSES, row, 1)[0] for row in FALLS]))
    assert [e.value for e in found.means] == pytest.approx(np.mean(FALLS, axis=0))
    assert trend(DOSES, FALLS[:1], "falls").p == 1.0


def test_all_equal_rates_show_nothing():
    assert trend(DOSES, [[0.0] * 4] * 5, "falls").p > 0.4


@pytest.mark.parametrize(("doses", "rates"), [
    ([0, 1], [[0.1, 0.2]] * 3), ([0, 2, 1], [[0.1, 0.2, 0.3]] * 3), ([0, 1, 1], [[0.1, 0.2, 0.3]] * 3),
    (DOSES, []), (DOSES, [[0.1, 0.2]]),
])  # fmt: skip
def test_what_is_no_curve_is_an_error(doses, rates):
    with pytest.raises(UsageError):
        trend(doses, rates, "rises")


@pytest.mark.parametrize(("rates", "where"), [
    ([0.9, 0.7, 0.3, 0.1], 0.2), ([0.9, 0.8, 0.7, 0.6], None), ([0.1, 0.9, 0.1, 0.9], 0.05),
    ([0.5, 0.9, 0.9, 0.9], 0.0), ([0.9, 0.8, 0.6, 0.5], 0.5),
])  # fmt: skip
def test_crossing(rates, where):
    assert crossing(DOSES, rates) == (where if where is None else pytest.approx(where))
