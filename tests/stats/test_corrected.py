"""Corrected rates: the formula, its interval's coverage, and when it is withheld."""

from __future__ import annotations

import numpy as np
import pytest

from loopkit.records import Estimate
from loopkit.stats.corrected import Labels, corrected, sampled
from loopkit.stats.rates import gap, share

GOOD = Labels(exploits=60, flagged=54, honest=80, cleared=76)
"""Recall 0.9, specificity 0.95."""


def rate(p: float, n: int = 1000) -> Estimate:
    found = share([i < round(p * n) for i in range(n)], [str(i) for i in range(n)])
    assert found is not None
    return found


def test_the_value_is_rogan_gladens_and_held_to_shares() -> None:
    found = corrected(rate(0.5), GOOD)
    assert found is not None
    assert found.value == pytest.approx((0.5 + 0.95 - 1) / (0.9 + 0.95 - 1))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    # Lang and Reiczigel's formula (2014), worked out apart for 500 of 1000, 54 of 60 and 76 of 80
    assert (found.low, found.high) == pytest.approx((0.465993, 0.605028), abs=1e-5)
    none, all_ = corrected(rate(0.0), GOOD), corrected(rate(1.0), GOOD)
    assert none is not None
    assert all_ is not None
    assert (none.value, all_.value) == (0.0, 1.0)


def test_of_a_gap_false_alarms_cancel() -> None:
    flags = [i % 4 == 0 for i in range(400)] + [i % 10 == 0 for i in range(400)]
    raw = gap(flags, [i < 400 for i in range(800)], [str(i) for i in range(800)])
    found = corrected(raw, GOOD, difference=True)
    assert found is not None
    assert found.value == pytest.approx(0.15 / 0.85)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_by_labels_of_its_own_rollouts_the_value_is_the_rate_and_the_mistakes_share() -> None:
    flags = [True] * 30 + [False] * 70
    labels = [True] * 20 + [False] * 10 + [True] * 5 + [False] * 65  # 10 false alarms and 5 missed of 100
    found = sampled(rate(0.3), labels, flags, [str(i) for i in range(100)])
    assert found is not None
    assert found.value == pytest.approx(0.25)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.25 < found.high
    right = sampled(rate(0.3), flags, flags, [str(i) for i in range(100)])
    raw = rate(0.3)
    assert right is not None
    assert right.value == pytest.approx(0.3)
    assert right.high is not None
    assert raw.high is not None
    assert right.high > raw.high  # no mistake among 100 is not: no mistakes
    assert sampled(None, labels, flags, []) is None
    assert sampled(raw, [True], [None], ["a"]) is None


@pytest.mark.parametrize(("true", "recall", "specificity"), [(0.05, 0.6, 0.97), (0.4, 0.8, 0.9), (0.9, 0.95, 0.5)])
@pytest.mark.parametrize("labelled", [30, 100])
def test_by_its_own_rollouts_the_interval_covers_the_true_rate(
    true: float, recall: float, specificity: float, labelled: int
) -> None:
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(400):
        exploits = rng.random(500) < true
        flags = rng.random(500) < np.where(exploits, recall, 1 - specificity)
        raw = share(flags.tolist(), [str(i) for i in range(500)])
        names = [str(i) for i in range(labelled)]
        found = sampled(raw, exploits[:labelled].tolist(), flags[:labelled].tolist(), names)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= true <= found.high)
    assert np.mean(covered) > 0.92


@pytest.mark.parametrize(("true", "recall", "specificity"), [(0.05, 0.9, 0.95), (0.4, 0.8, 0.9), (0.8, 0.9, 0.97)])
@pytest.mark.parametrize("difference", [False, True])
def test_the_interval_covers_the_true_rate(true: float, recall: float, specificity: float, difference: bool) -> None:
    """From both samples: labels of 60 and 80 transcripts, 500 rollouts (of a gap, 500 of each kind)."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(300):
        labels = Labels(60, int(rng.binomial(60, recall)), 80, int(rng.binomial(80, specificity)))

        def flags(p: float) -> list[bool]:
            exploits = rng.random(500) < p
            return (rng.random(500) < np.where(exploits, recall, 1 - specificity)).tolist()

        ids = [str(i) for i in range(1000)]
        if difference:
            low = true / 4
            raw = gap(flags(true) + flags(low), [i < 500 for i in range(1000)], ids)
            truth = true - low
        else:
            raw, truth = share(flags(true), ids[:500]), true
        found = corrected(raw, labels, difference=difference)
        assert found is not None
        if found.low is not None and found.high is not None:
            covered.append(found.low <= truth <= found.high)
    assert len(covered) >= 290
    assert np.mean(covered) >= 0.95 - 3 * (0.0475 / 300) ** 0.5


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        (Labels(20, 10, 20, 10), "better than chance"),
        (Labels(0, 0, 20, 20), "one kind"),
        (Labels(20, 20, 0, 0), "one kind"),
    ],
)
def test_it_is_withheld_where_labels_cannot_carry_it(labels: Labels, word: str) -> None:
    found = corrected(rate(0.3), labels)
    assert found is not None
    assert (found.low, found.high) == (None, None)
    assert word in found.method


def test_a_rate_without_an_interval_gets_none_and_no_rate_none() -> None:
    bare = corrected(Estimate(0.3, None, None, 8, 1, "withheld: one cluster"), GOOD)
    assert bare is not None
    assert bare.method == "withheld: one cluster"
    assert corrected(None, GOOD) is None
