"""Onset: few false ones over a whole run, few steps late; and the path to domination."""

import numpy as np
import pytest

from loopkit.errors import ContractError
from loopkit.records import Estimate
from loopkit.stats.onset import BETS, Discovery, apart, discovery, domination, lengths, onset
from loopkit.stats.rates import share
from tests.stats.onsets import KINDS, against, beside, estimates, margin, rates


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


def rising(base, after, n=6, steps=30, start=10):
    """(n, steps) true rates: every second run rises from ``base`` to ``after`` at step ``start``."""
    return base + (after - base) * (np.arange(steps) >= start) * (np.arange(n) % 2)[:, None]


def flat(base, n=6, steps=30):
    return np.full((n, steps), base)


@pytest.mark.parametrize(
    ("kind", "base"), [("share", 0.02), ("share", 0.3), ("gap", 0.05), ("gap, 2 + 2 prompts", 0.1)]
)
def test_two_runs_alike_are_not_apart(kind, base):
    rng, draw = np.random.default_rng(21), KINDS[kind][0]
    seen = beside(draw(rng, flat(base, 60)), draw(rng, flat(base, 60)), margin(base, kind))
    assert (seen >= 0).mean() <= 0.05


@pytest.mark.parametrize(
    ("kind", "base", "after"), [("share", 0.02, 0.3), ("share", 0.1, 0.6), ("gap", 0.05, 0.6), ("gap", 0.1, 0.9)]
)
def test_a_rise_that_placebo_lacks_is_found_soon_and_no_earlier_than_it_comes(kind, base, after):
    rng, draw = np.random.default_rng(22), KINDS[kind][0]
    run, placebo = draw(rng, rising(base, after, 20)), draw(rng, flat(base, 20))
    seen = beside(run, placebo, margin(base, kind))
    assert (seen[::2] < 0).all()
    assert ((seen[1::2] >= 10) & (seen[1::2] <= 20)).all()
    assert (beside(placebo, run, margin(base, kind)) < 0).all()


def test_what_placebo_reached_at_any_step_is_no_onset():
    rng, draw = np.random.default_rng(23), KINDS["share"][0]
    late, early = flat(0.1), flat(0.1)
    late[:, 20:], early[:, 2:12] = 0.6, 0.6
    assert (beside(draw(rng, late), draw(rng, early), 0.1) < 0).all()


def windows_of(recorded, i):
    """What the package is given of the i-th simulated run."""
    out = {}
    for length in lengths(recorded[0].shape[1]):
        value, below, over = (x[i].tolist() for x in rates(recorded, length))
        some = zip(value, below, over, strict=True)
        out[length] = [None] * (length - 1) + [Estimate(v, v - b, v + o, 128, 16, "") for v, b, o in some]
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_the_simulated_runs_are_judged_as_the_package_judges(kind):
    """results/simulations.md rests on it."""
    rng, (draw, low) = np.random.default_rng(24), KINDS[kind]
    run, placebo = draw(rng, rising(0.1, 0.8)), draw(rng, flat(0.1))
    seen = [apart(windows_of(run, i), windows_of(placebo, i), 0.1) for i in range(6)]
    assert [None if step < 0 else step for step in beside(run, placebo, 0.1)] == seen
    assert any(step is not None for step in seen)
    by_step = rates(run)[0]
    assert [None if step < 0 else step for step in against(run, np.full(6, 0.12), low)] == [
        onset(by_step[i].tolist(), 0.12, low=low) for i in range(6)
    ]


def test_simulated_rates_have_the_limits_of_the_packages():
    rng = np.random.default_rng(25)
    flags = rng.random((16, 8)) < rng.beta(0.2, 0.8, 16)[:, None]
    rate, below, over = (float(x[0, 0]) for x in estimates(flags.sum(1)[None, None], 8))
    found = share(flags.ravel().tolist(), [f"{i // 8}" for i in range(128)])
    assert (rate - below, rate, rate + over) == pytest.approx((found.low, found.value, found.high))


def test_short_runs_have_one_window_and_rates_without_an_interval_none():
    assert (lengths(3), lengths(12), lengths(40), lengths(0)) == ((3,), (5, 10), (5, 10, 20), ())
    low, high = (Estimate(v, v - 0.02, v + 0.02, 100, 100, "wilson") for v in (0.1, 0.8))
    withheld = Estimate(0.9, None, None, 8, 1, "withheld: one cluster")
    assert apart({3: [None, None, high]}, {3: [None, None, low]}, 0.1) == 2
    assert apart({3: [None, None, high]}, {3: [None, None, None]}, 0.1) is None
    assert apart({3: [None, None, withheld]}, {3: [None, None, low]}, 0.1) is None
    assert apart({3: [None, None, high]}, {3: [None, None, low]}, 0.3) is None  # 70 points are not 2.5 x 30
