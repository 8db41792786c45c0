"""Onset: few false ones over a whole run, few steps late; and the path to domination."""

import numpy as np
import pytest

from loopkit.errors import ContractError
from loopkit.records import Estimate
from loopkit.stats.onset import BETS, Discovery, apart, discovery, domination, onset, pooled, windows
from loopkit.stats.rates import gap, share
from tests.stats.onsets import KINDS, against, beside, estimates


def step_rate(rng, p, icc=0.5):
    """Exploit rate of a step of 16 groups of 8 rollouts that resemble each other within a group."""
    k = (1 - icc) / icc
    return float((rng.random((16, 8)) < rng.beta(p * k, (1 - p) * k, 16)[:, None]).mean())


@pytest.mark.parametrize("p", [0.02, 0.3])
def test_false_onsets_are_rare_over_whole_runs(p):
    rng = np.random.default_rng(8)
    false = 0
    for _ in range(400):
        base = share((rng.random(2000) < p).tolist(), [str(i) for i in range(2000)])
        false += onset([step_rate(rng, p) for _ in range(60)], base.high) is not None
    assert false / 400 <= 0.05


def test_false_onsets_stay_below_what_ville_allows_on_the_edge_of_the_null():
    """Rates of 0 or 1 with mean exactly base_high: the heaviest case. Only alpha / 2 is spent here."""
    rng = np.random.default_rng(9)
    false = sum(onset((rng.random(60) < 0.1).astype(float).tolist(), 0.1) is not None for _ in range(2000))
    assert 0 < false / 2000 <= 0.025 + 0.008


@pytest.mark.parametrize(("base", "after", "late"), [(0.02, 0.3, 6), (0.02, 0.6, 5), (0.2, 0.6, 9)])
def test_a_jump_is_found_quickly(base, after, late):
    rng = np.random.default_rng(10)
    found = [onset([step_rate(rng, base if t < 20 else after) for t in range(60)], base + 0.02) for _ in range(40)]
    assert all(step is not None and step >= 20 for step in found)
    assert np.median(found) <= 20 + late


def test_a_gap_may_be_negative():
    run = [-0.2] * 20 + [0.9] * 40
    found = onset(run, 0.05, low=-1.0)
    assert 20 < found <= 35  # slower than a rate in [0, 1]: a gap has further to fall, so bets are small
    with pytest.raises(ContractError, match="below its range"):
        onset(run, 0.05)


@pytest.mark.parametrize("seed", range(12))
def test_the_recursion_is_the_plain_double_sum(seed):
    rates, m = np.random.default_rng(seed).uniform(0, 0.9, 15).tolist(), 0.3

    def wealth(t):
        bets = [np.prod([1 + b / m * (x - m) for x in rates[j : t + 1]]) for j in range(t + 1) for b in BETS]
        return sum(bets) / len(BETS) / 15 + (15 - t - 1) / 15

    path = [wealth(t) for t in range(15)]
    peak = max(path)
    assert onset(rates, m, alpha=2 / (peak * 0.999)) == path.index(peak)
    assert onset(rates, m, alpha=2 / (peak * 1.001)) is None


def test_steps_not_measured_are_skipped():
    run = [0.0] * 5 + [None] * 5 + [0.8] * 10
    assert 10 <= onset(run, 0.05) <= 13
    assert onset([None] * 5, 0.05) is None
    assert onset([], 0.05) is None


def test_a_base_without_room_is_an_error():
    with pytest.raises(ContractError, match="upper limit"):
        onset([0.1], 0.0)


@pytest.mark.parametrize(
    ("rates", "start", "expected"),
    [
        ([0.1, 0.6, 0.4, 0.5, 0.9], 1, 3),
        ([0.9, 0.9, 0.9], 1, 1),
        ([0.9, None, 0.9], 1, 2),
        ([0.9, 0.9, None], 0, 0),
        ([0.9, 0.9, 0.4], 0, None),
        ([0.9, 0.9, 0.9], None, None),
        ([0.9, None], 1, None),
    ],
)
def test_domination_lasts_to_the_end(rates, start, expected):
    assert domination(rates, start) == expected


def test_discovery_path():
    run = [0.0, None, 0.1, 0.0] + [0.4] * 6 + [0.8] * 10
    assert discovery(run, onset(run, 0.05)) == Discovery(onset(run, 0.05), 10, 2, 8)
    assert discovery([0.0] * 5, None) == Discovery(None, None, None, None)
    assert discovery([0.0, 0.05, 0.0], None) == Discovery(None, None, 1, None)


# --- beside a placebo run ---------------------------------------------------------------------------------------------


def groups(rng, true, icc=0.5):
    """(T,) rates of 16 prompts x 8 rollouts that resemble each other within a prompt, and one step not measured."""
    k = (1 - icc) / icc
    clusters = [f"{i // 8}" for i in range(128)]

    def step(p):
        p = min(max(p, 1e-3), 1 - 1e-3)
        return share((rng.random((16, 8)) < rng.beta(p * k, (1 - p) * k, 16)[:, None]).ravel().tolist(), clusters)

    return [None if t == 3 else step(p) for t, p in enumerate(true)]


def gaps(rng, true, level=0.3):
    """(T,) gaps between two rates of 8 prompts x 8 rollouts each, as context-compliance's."""
    pairs, side = [f"{i // 16}" for i in range(128)], [i % 16 < 8 for i in range(128)]

    def step(p):
        chances = [(level + p / 2) if user else (level - p / 2) for user in side]
        return gap([bool(rng.random() < c) for c in chances], side, pairs)

    return [step(p) for p in true]


@pytest.mark.parametrize(("kind", "base"), [(groups, 0.02), (groups, 0.3), (gaps, 0.05)])
def test_two_runs_alike_are_not_apart(kind, base):
    rng = np.random.default_rng(21)
    assert not any(apart(kind(rng, [base] * 40), kind(rng, [base] * 40)) is not None for _ in range(20))


@pytest.mark.parametrize(("kind", "base", "after"), [(groups, 0.02, 0.3), (groups, 0.1, 0.6), (gaps, 0.05, 0.55)])
def test_a_rise_that_placebo_lacks_is_found_and_no_earlier_than_it_comes(kind, base, after):
    rng = np.random.default_rng(22)
    for _ in range(5):
        run = kind(rng, [base] * 12 + [after] * 18)
        assert 12 <= apart(run, kind(rng, [base] * 30)) <= 22
        assert apart(kind(rng, [base] * 30), run) is None


def test_what_placebo_reached_at_any_step_is_no_onset():
    rng = np.random.default_rng(23)
    assert apart(groups(rng, [0.1] * 10 + [0.6] * 10), groups(rng, [0.1] * 8 + [0.6] * 5 + [0.1] * 7)) is None


def test_short_runs_have_one_window_and_steps_without_an_interval_none():
    low, high = (Estimate(v, v - 0.05, v + 0.05, 100, 100, "wilson") for v in (0.1, 0.8))
    withheld = Estimate(0.9, None, None, 8, 1, "withheld: one cluster")
    assert apart([high] * 3, [low] * 3) == 2
    assert apart([high] * 2, [low] * 2 + [None] * 4) is None  # placebo was not measured for a window
    assert apart([withheld] * 9, [low] * 9) is None
    assert windows([low, None, low, low, withheld, low, high])[:6] == [None] * 6


@pytest.mark.parametrize("kind", KINDS)
def test_the_simulated_runs_are_judged_as_the_package_judges(kind):
    """docs/simulations.md rests on it."""
    rng, (draw, low) = np.random.default_rng(24), KINDS[kind]
    rising = np.full((6, 30), 0.1) + 0.6 * np.clip((np.arange(30) - 8) / 4, 0, 1) * (np.arange(6) % 2)[:, None]
    run, placebo = draw(rng, rising), draw(rng, np.full((6, 30), 0.1))

    def recorded(arrays, i):
        return [
            Estimate(v, v - b, v + a, 128, 16, "") for v, b, a in zip(*(x[i].tolist() for x in arrays), strict=True)
        ]

    limits = np.full(6, 0.12)
    seen = [apart(recorded(run, i), recorded(placebo, i)) for i in range(6)]
    assert [None if step < 0 else step for step in beside(run, placebo)] == seen
    assert [None if step < 0 else step for step in against(run, limits, low)] == [
        onset(run[0][i].tolist(), 0.12, low=low) for i in range(6)
    ]
    assert any(step is not None for step in seen)


def test_simulated_rates_have_the_limits_of_the_packages():
    rng = np.random.default_rng(25)
    flags = rng.random((16, 8)) < rng.beta(0.2, 0.8, 16)[:, None]
    rate, below, above = (float(x[0, 0]) for x in estimates(flags.sum(1)[None, None], 8))
    found = share(flags.ravel().tolist(), [f"{i // 8}" for i in range(128)])
    assert (rate - below, rate, rate + above) == pytest.approx((found.low, found.value, found.high))


def test_a_window_is_the_mean_of_its_rates_and_narrower_than_each():
    rates = [Estimate(v, v - 0.1, v + 0.2, n, n, "wilson") for v, n in ((0.2, 100), (0.4, 300))]
    low, high = pooled(rates)
    assert low == pytest.approx(0.35 - 0.1 * (1 + 9) ** 0.5 / 4)
    assert high == pytest.approx(0.35 + 0.2 * (1 + 9) ** 0.5 / 4)
    assert pooled([]) is None
