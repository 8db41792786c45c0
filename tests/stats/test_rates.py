"""Rates within a run: published numbers, then coverage by simulation."""

import numpy as np
import pytest
from scipy import stats

from loopkit.stats.rates import gap, share, wilson


def ids(n, per=1):
    return [f"c{i // per}" for i in range(n)]


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 29), (15, 148), (81, 263), (10, 10)])
def test_wilson_is_scipys(k, n):
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_published():
    """Newcombe, Stat. Med. 1998, 17:857, table I, method 3."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == (0.0, pytest.approx(0.1611, abs=5e-5))


def test_share_with_one_observation_a_cluster_is_wilson():
    e = share([True, None, False, False], ids(4))
    assert (e.value, e.n, e.clusters, e.method) == (pytest.approx(1 / 3), 3, 3, "wilson")
    assert (e.low, e.high) == wilson(1, 3)


def test_share_of_nothing_is_none():
    assert share([], []) is None
    assert share([None, None], ["a", "b"]) is None


def test_one_cluster_of_several_is_withheld():
    e = share([True, False, True], ["a"] * 3)
    assert (e.low, e.high, e.method) == (None, None, "withheld: one cluster")


def test_copies_of_an_observation_add_nothing():
    """Eight equal rollouts a prompt: the interval is that of one a prompt, but for t in place of z."""
    flags = [i % 3 == 0 for i in range(60)]
    once, copied = share(flags, ids(60)), share([f for f in flags for _ in range(8)], ids(480, 8))
    assert copied.method.startswith("wilson, cluster-robust (deff 8")
    assert 1 < (copied.high - copied.low) / (once.high - once.low) < 1.06


def test_independent_observations_are_not_blown_up():
    rng = np.random.default_rng(1)
    flags = (rng.random(1600) < 0.3).tolist()
    e, plain = share(flags, ids(1600, 8)), wilson(sum(flags), 1600)
    assert 1 <= (e.high - e.low) / (plain[1] - plain[0]) < 1.15


def test_at_the_boundary_clusters_are_what_counts():
    e = share([False] * 80, ids(80, 8))
    assert (e.value, e.low) == (0.0, 0.0)
    assert wilson(0, 10)[1] < e.high < 0.4


def test_fractional_scores_are_at_most_a_coins_interval():
    e = share([0.4, 0.5, 0.6, 0.5], ids(4))
    assert (e.low, e.high) == wilson(2, 4)


def test_unequal_lengths_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        share([True, False], ["a"])


def beta_binomial(rng, clusters, size, p, icc):
    k = (1 - icc) / icc
    q = rng.beta(p * k, (1 - p) * k, clusters)
    return rng.random((clusters, size)) < q[:, None]


@pytest.mark.parametrize(("p", "icc"), [(0.5, 0.5), (0.1, 0.5), (0.05, 0.3)])
def test_share_covers_with_correlated_clusters(p, icc):
    rng = np.random.default_rng(2)
    found = [share(beta_binomial(rng, 16, 8, p, icc).ravel().tolist(), ids(128, 8)) for _ in range(500)]
    assert np.mean([e.low <= p <= e.high for e in found]) >= 0.92
    assert np.mean([e.high - e.low for e in found]) < 0.45


def pairs(a, b, c, d):
    """2x2 table of pairs (both, first only, second only, neither) -> flags, groups, clusters."""
    flags = [1, 1] * a + [1, 0] * b + [0, 1] * c + [0, 0] * d
    return flags, [True, False] * (a + b + c + d), ids(len(flags), 2)


@pytest.mark.parametrize(
    ("table", "value", "low", "high"),
    [
        ((36, 12, 2, 0), 0.2, 0.0569, 0.3404),  # Newcombe, Stat. Med. 1998, 17:2635, method 10
        ((59, 6, 16, 80), -0.0621, -0.1186, -0.0046),  # Cavo et al. 2012, in Fagerland, Lydersen & Laake 2017
    ],
)
def test_gap_paired_published(table, value, low, high):
    e = gap(*pairs(*table))
    assert (e.value, e.low, e.high) == pytest.approx((value, low, high), abs=5e-5)
    assert (e.method, e.clusters) == ("newcombe, paired by cluster", sum(table))


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"), [(56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090)]
)
def test_gap_unpaired_published(a, m, b, n, low, high):
    """Newcombe, Stat. Med. 1998, 17:873, table II, method 10."""
    e = gap([1] * a + [0] * (m - a) + [1] * b + [0] * (n - b), [True] * m + [False] * n, ids(m + n))
    assert (e.low, e.high) == pytest.approx((low, high), abs=5e-5)
    assert e.method == "newcombe, unpaired"


def test_gap_is_antisymmetric():
    flags, groups, clusters = pairs(20, 9, 3, 8)
    e, f = gap(flags, groups, clusters), gap(flags, [not g for g in groups], clusters)
    assert (e.value, e.low, e.high) == pytest.approx((-f.value, -f.high, -f.low))


def test_pairing_narrows_the_gap():
    flags, groups, clusters = pairs(25, 5, 2, 18)
    paired, apart = gap(flags, groups, clusters), gap(flags, groups, ids(len(flags)))
    assert paired.high - paired.low < 0.75 * (apart.high - apart.low)


def test_gap_at_the_boundary_stays_open():
    e = gap(*pairs(0, 30, 0, 0))
    assert (e.value, e.high) == (1.0, 1.0)
    assert 0.8 < e.low < 0.95


def test_gap_without_a_group_is_none():
    assert gap([True, None], [True, False], ["a", "a"]) is None
    assert gap([], [], []) is None


def test_gap_is_withheld_where_an_arm_is():
    e = gap([True, False, True, False], [True, True, False, False], ["a", "a", "b", "c"])
    assert (e.value, e.low, e.method) == (0.0, None, "withheld: one cluster")


@pytest.mark.parametrize(("p", "q", "clusters", "size"), [(0.6, 0.4, 50, 1), (0.95, 0.9, 50, 1), (0.5, 0.3, 30, 4)])
def test_gap_covers_on_pairs(p, q, clusters, size):
    rng = np.random.default_rng(3)
    limits = np.repeat(stats.norm.ppf([p, q]), size)
    groups = ([True] * size + [False] * size) * clusters
    hits = 0
    for _ in range(500):
        latent = 0.8 * rng.normal(size=(clusters, 1)) + 0.6 * rng.normal(size=(clusters, 2 * size))
        e = gap((latent < limits).ravel().tolist(), groups, ids(2 * size * clusters, 2 * size))
        hits += e.low <= p - q <= e.high
    assert hits / 500 >= 0.92
