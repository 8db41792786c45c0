"""Cohen's kappa: a published example, its limits, and the coverage of its interval by simulation."""

from __future__ import annotations

import random

import pytest

from loopkit.stats.agreement import kappa


def raters(table: list[list[int]]) -> tuple[list[int], list[int]]:
    cells = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return [i for i, _ in cells], [j for _, j in cells]


def test_a_published_example() -> None:
    """Fleiss, Cohen & Everitt 1969, table 1 (n = 200): kappa 0.429, variance 0.002885 (unweighted)."""
    one, other = raters([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
    found = kappa(one, other, [str(i) for i in range(200)])
    assert found is not None
    assert found.low is not None
    assert found.value == pytest.approx(0.429, abs=5e-4)
    half = found.value - found.low
    assert half / 1.972 == pytest.approx(0.0537, abs=5e-4)


def test_limits() -> None:
    ids = [str(i) for i in range(20)]
    assert kappa([], [], []) is None
    assert kappa([1] * 20, [1] * 20, ids) is None, "chance alone agrees on everything"
    same = kappa([0, 1] * 10, [0, 1] * 10, ids)
    assert same is not None
    assert (same.value, same.low) == (1.0, None)
    opposite = kappa([0, 1] * 10, [1, 0] * 10, ids)
    assert opposite is not None
    assert (opposite.value, opposite.low) == (-1.0, None)
    constant = kappa([0] * 20, [0, 1] * 10, ids)
    assert constant is not None
    assert constant.value == 0.0


def test_the_interval_covers_and_clusters_widen_it() -> None:
    rng, truth, n = random.Random(0), 0.5, 120
    covered, pairs_covered, repeats = 0, 0, 400
    for _ in range(repeats):
        one = [rng.random() < 0.5 for _ in range(n)]
        other = [a if rng.random() < 0.75 else not a for a in one]  # po 0.75, pe 0.5: kappa 0.5
        found = kappa(one, other, [str(i) for i in range(n)])
        doubled = kappa(one * 2, other * 2, [str(i) for i in range(n)] * 2)
        assert found is not None
        assert doubled is not None
        assert found.low is not None
        assert found.high is not None
        assert doubled.low is not None
        assert doubled.high is not None
        covered += found.low <= truth <= found.high
        pairs_covered += doubled.low <= truth <= doubled.high
    assert 0.92 <= covered / repeats <= 0.98
    assert pairs_covered == covered, "saying everything twice tells no more"
