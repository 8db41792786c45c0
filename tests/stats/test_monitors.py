"""Cheap alarms: deviations from a run's own start, thresholds on control runs, leads and misses."""

import numpy as np
import pytest

from loopkit.errors import UsageError
from loopkit.stats.monitors import Threshold, alarm, deviation, early_warning, threshold

RISING = [0.0] * 10 + [1.0] * 10


def test_a_deviation_is_of_three_from_the_first_five():
    found = deviation([1, 2, 3, 4, 5, 6, 7, 8, 0])
    assert found[:7] == [None] * 7
    assert found[7:] == pytest.approx([7 - 3, 5 - 3])
    assert deviation([1, 2, 3, 4, 5, 6, 7, 8, 0], "fall")[7:] == pytest.approx([-4, -2])
    assert deviation([1, None, 2, 3, 4, 5, 6, 7, None, 8], "rise") == [None] * 8 + [None, 4.0]


@pytest.mark.parametrize(("side", "step"), [("rise", 10), ("both", 10), ("fall", None)])
def test_an_alarm_is_the_first_step_beyond(side, step):
    assert alarm(RISING, Threshold(0.3, 0.05, 19), side) == step
    assert alarm([-x for x in RISING], Threshold(0.3, 0.05, 19), "fall") == 10
    assert alarm(RISING, Threshold(1.0, 0.05, 19)) is None


@pytest.mark.parametrize(
    ("n", "rank", "level"), [(3, 3, 1 / 4), (19, 19, 0.05), (20, 20, 1 / 21), (39, 38, 0.05), (99, 95, 0.05)]
)
def test_a_threshold_is_the_conformal_order_statistic(n, rank, level):
    """Runs whose largest deviation is 1 ... n."""
    found = threshold([[0.0] * 8 + [3.0 * (i + 1)] for i in range(n)][::-1])
    assert found.value == pytest.approx(rank)
    assert (found.level, found.runs) == (pytest.approx(level), n)


def test_no_run_and_short_runs_are_errors():
    with pytest.raises(UsageError, match="no control run"):
        threshold([])
    with pytest.raises(UsageError, match="at least 8 values"):
        threshold([[0.0] * 7])


def test_leads_misses_and_false_alarms():
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.1, 20).tolist() for _ in range(60)]
    late = [0.0] * 18 + [1.0] * 2
    found = early_warning(
        noise[:40], [*noise[40:], RISING], [(RISING, 15), (late, 15), (RISING, None), (RISING, 8)], "rise"
    )
    assert found.leads == (5,)
    assert (found.missed.value, found.missed.n) == (pytest.approx(2 / 3), 3)  # too late, and domination before it
    assert found.false_alarms.n == 21
    assert found.false_alarms.value >= 1 / 21
    assert not found.exploratory
    few = early_warning(noise[:19], [], [(RISING, None)])
    assert few.exploratory
    assert (few.false_alarms, few.missed, few.leads) == (None, None, ())
