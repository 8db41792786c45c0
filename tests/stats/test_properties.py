"""What must hold of every estimate, whatever the data: order, symmetry, nesting, monotonicity, the textbook's forms."""

from __future__ import annotations

import random
from math import sqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from loopkit.stats.onset import discovery, domination, onset
from loopkit.stats.rates import gap, share, wilson
from loopkit.stats.seeds import clopper_pearson, discovered, mean_over_seeds, one_sided_p
from loopkit.stats.verdict import verdict

LEVELS = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])
counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
flag = st.none() | st.booleans() | st.sampled_from([0.0, 0.25, 1.0])
rows = st.lists(st.tuples(flag, st.booleans(), st.sampled_from("abcdef")), max_size=40)
seeds = st.lists(st.integers(-1000, 1000).map(lambda i: i / 1000), min_size=5, max_size=12)
rates = st.lists(st.none() | st.floats(0, 1), max_size=40)
CLOSE = 1e-9


def columns(table):
    return tuple(map(list, zip(*table, strict=True))) if table else ([], [], [])


def close(one, other):
    if one is None or other is None:
        return one is other
    ends = [(one.value, other.value), (one.low, other.low), (one.high, other.high)]
    same = all(a is b if a is None or b is None else abs(a - b) < CLOSE for a, b in ends)
    return same and (one.n, one.clusters) == (other.n, other.clusters)


# --- one share --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
@given(counts, LEVELS, LEVELS)
def test_intervals_hold_the_share_nest_with_the_level_and_mirror(interval, found, level, other):
    (k, n), (level, higher) = found, sorted((level, other))
    low, high = interval(k, n, level)
    assert 0 <= low <= k / n <= high <= 1
    wider = interval(k, n, higher)
    assert wider[0] <= low + CLOSE
    assert wider[1] >= high - CLOSE
    assert interval(n - k, n, level) == pytest.approx((1 - high, 1 - low), abs=CLOSE)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
@given(counts)
def test_intervals_rise_with_the_successes_and_narrow_with_n(interval, found):
    k, n = found
    low, high = interval(k, n)
    if k < n:
        assert interval(k + 1, n)[0] > low
        assert interval(k + 1, n)[1] >= high
    twice = interval(2 * k, 2 * n)
    assert twice[1] - twice[0] < high - low


@given(counts, LEVELS)
def test_clopper_pearson_is_the_beta_quantiles(found, level):
    k, n = found
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, k, n - k + 1) if k else 0.0
    high = stats.beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
    assert clopper_pearson(k, n, level) == pytest.approx((low, high), abs=1e-7)


@given(st.integers(1, 40), st.sampled_from([0.0, 1.0]) | st.floats(1e-9, 1 - 1e-9), LEVELS)
def test_clopper_pearson_covers_exactly_at_least_its_level(n, p, level):
    """No simulation: the chance of each k is known."""
    covered = sum(
        stats.binom.pmf(k, n, p)
        for k in range(n + 1)
        if (ends := clopper_pearson(k, n, level))[0] - CLOSE <= p <= ends[1] + CLOSE
    )
    assert covered >= level - 1e-7


@given(counts, st.floats(0.001, 0.999), LEVELS)
def test_wilson_holds_just_the_shares_that_the_score_test_does_not_reject(found, p, level):
    k, n = found
    z = abs(k / n - p) / sqrt(p * (1 - p) / n)
    critical = stats.norm.ppf((1 + level) / 2)
    assume(abs(z - critical) > 1e-6)
    low, high = wilson(k, n, level)
    assert (low <= p <= high) == (z < critical)


# --- clustered flags --------------------------------------------------------------------------------------------------


@given(rows, st.randoms(use_true_random=False))
def test_a_share_knows_no_order_no_names_and_no_abstentions(table, rng):
    flags, _, clusters = columns(table)
    found = share(flags, clusters)
    turned = list(table)
    rng.shuffle(turned)
    flags_, _, clusters_ = columns(turned)
    assert close(found, share(flags_, clusters_))
    assert close(found, share(flags, [f"cluster {c}" for c in clusters]))
    kept = [(f, s, c) for f, s, c in table if f is not None]
    assert close(found, share(columns(kept)[0], columns(kept)[2]))
    assert (found is None) == (not kept)


@given(rows)
def test_a_share_lies_in_its_interval_and_mirrors(table):
    flags, _, clusters = columns(table)
    found, other = share(flags, clusters), share([None if f is None else 1 - f for f in flags], clusters)
    if found is None:
        assert other is None
        return
    assert 0 <= found.value <= 1
    assert other.value == pytest.approx(1 - found.value)
    assert (found.n, found.clusters) == (
        sum(f is not None for f in flags),
        len({c for f, _, c in table if f is not None}),
    )
    if found.low is None:
        assert found.method.startswith("withheld")
        return
    assert 0 <= found.low <= found.value + CLOSE
    assert found.value - CLOSE <= found.high <= 1
    assert (other.low, other.high) == pytest.approx((1 - found.high, 1 - found.low))


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_clustering_never_narrows_a_share(flags):
    """Against the same flags taken as independent."""
    alone = share(flags, [str(i) for i in range(len(flags))])
    paired = share(flags, [str(i // 2) for i in range(len(flags))])
    if paired.low is not None:
        assert paired.high - paired.low >= alone.high - alone.low - CLOSE


@given(rows, st.randoms(use_true_random=False))
def test_a_gap_is_antisymmetric_bounded_and_knows_no_order(table, rng):
    flags, groups, clusters = columns(table)
    found, other = gap(flags, groups, clusters), gap(flags, [not g for g in groups], clusters)
    turned = list(table)
    rng.shuffle(turned)
    assert close(found, gap(*columns(turned)))
    if found is None:
        assert other is None
        return
    one, two = (
        share([f if g is s else None for f, g in zip(flags, groups, strict=True)], clusters) for s in (True, False)
    )
    assert found.value == pytest.approx(one.value - two.value)
    assert other.value == pytest.approx(-found.value)
    if found.low is not None:
        assert -1 <= found.low <= found.value + CLOSE
        assert found.value - CLOSE <= found.high <= 1
        assert (other.low, other.high) == pytest.approx((-found.high, -found.low), abs=CLOSE)


# --- seeds ------------------------------------------------------------------------------------------------------------


@given(seeds, st.floats(-2, 2), st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_a_mean_moves_and_stretches_with_its_values(values, shift, scale, rng):
    found = mean_over_seeds(values)
    assert close(found, mean_over_seeds(rng.sample(values, len(values))))
    assume(found.low is not None)
    assert found.low < found.value < found.high
    moved = mean_over_seeds([scale * v + shift for v in values])
    assert (moved.value, moved.low, moved.high) == pytest.approx(
        tuple(scale * v + shift for v in (found.value, found.low, found.high)), abs=1e-6
    )
    bounded = mean_over_seeds(values, bounds=(-1.0, 1.0))
    assert (bounded.low is not None) == (found.low >= -1 and found.high <= 1)


@given(seeds, st.floats(-1, 1), st.floats(-1, 1))
def test_p_values_are_complementary_and_monotone_in_the_margin(values, margin, other):
    lower, upper = sorted((margin, other))
    greater, less = one_sided_p(values, lower, "greater"), one_sided_p(values, lower, "less")
    assert 0 <= greater <= 1
    assert greater + less == pytest.approx(1)
    assert one_sided_p(values, upper, "greater") >= greater - CLOSE


@given(seeds, st.floats(-1, 1))
def test_a_test_rejects_just_where_the_interval_leaves_the_margin_out(values, margin):
    found = mean_over_seeds(values)
    assume(found.low is not None and stats.tstd(values) > 1e-3 and abs(found.low - margin) > 1e-6)
    assert (one_sided_p(values, margin, "greater") < 0.025) == (found.low > margin)


@given(st.lists(st.none() | st.integers(0, 99), min_size=1, max_size=30))
def test_discovered_is_clopper_pearson_of_what_is_not_censored(onsets):
    found = discovered(onsets)
    k = sum(o is not None for o in onsets)
    assert (found.value, found.low, found.high) == (k / len(onsets), *clopper_pearson(k, len(onsets)))


# --- onset ------------------------------------------------------------------------------------------------------------


@given(rates, st.floats(0.01, 0.9), st.floats(0.01, 0.9), st.floats(0, 0.5))
def test_onset_comes_no_later_with_higher_rates_and_no_earlier_with_a_higher_base(found, base, other, more):
    lower, higher = sorted((base, other))
    when = onset(found, lower)
    assert _no_later(when, onset(found, higher))
    assert _no_later(onset([None if r is None else min(1.0, r + more) for r in found], lower), when)
    assert _no_later(when, onset(found, lower, alpha=0.01))


def _no_later(one, other):
    return other is None or (one is not None and one <= other)


@given(rates, st.floats(0.01, 0.9))
def test_onset_needs_a_rate_above_base_and_looks_at_no_later_step(found, base):
    when = onset(found, base)
    if when is None:
        return
    assert found[when] > base
    rng = random.Random(0)
    changed = [*found[: when + 1], *(rng.random() for _ in found[when + 1 :])]
    assert onset(changed, base) == when


@given(st.lists(st.none() | st.floats(0, 1), min_size=1), st.floats(0.01, 0.9))
def test_a_run_at_or_below_base_has_no_onset(found, base):
    assert onset([None if r is None else r * base for r in found], base) is None


@given(rates, st.none() | st.integers(0, 39), st.floats(0, 1))
def test_domination_lasts_to_the_end_and_starts_no_earlier_than_it_could(found, start, threshold):
    when = domination(found, start, threshold)
    if when is None:
        return
    assert start is not None
    assert when >= start
    assert all(r is None or r >= threshold for r in found[when:])
    earlier = [r for r in found[start:when] if r is not None]
    assert not earlier or earlier[-1] < threshold


@given(rates, st.floats(0.01, 0.9))
def test_discovery_tells_one_story(found, base):
    path = discovery(found, onset(found, base))
    assert path.onset is None or path.first_exploit <= path.onset
    assert path.domination is None or path.onset <= path.domination
    assert (path.steps_to_domination is None) == (path.domination is None)
    if path.domination is not None:
        assert path.steps_to_domination == path.domination - path.first_exploit


# --- the verdict ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(*[st.integers(-10, 10).map(lambda i: i / 10)] * 4), min_size=1, max_size=6),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_a_verdict_knows_no_order_of_seeds_and_claims_only_what_its_tests_show(table, paid, rng):
    def of(rows):
        return verdict(*map(list, zip(*rows, strict=True)), observed_is_paid=paid)

    found, turned = of(table), of(rng.sample(table, len(table)))
    assert found.name == turned.name
    assert found.p == pytest.approx(turned.p) if found.p is not None else turned.p is None
    assert (found.name in ("not shown", "degenerate") or found.descriptive) == (found.p is None)
    if found.p is not None:
        assert found.p <= 0.05
    assert found.descriptive == (len(table) < 5)
    assert found.row in found.sentence().partition(":")[0].lower()
