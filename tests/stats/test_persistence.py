"""Persistence: matched pairs only, areas under correction, relapse."""

from dataclasses import replace

import pytest

from loopkit.errors import UsageError
from loopkit.stats.persistence import Pair, half_life, matched, persistence

SLOW, FAST = [0.9, 0.85, 0.8, 0.75], [0.9, 0.5, 0.2, 0.1]


def pair(rl, sft, shift=0.0, match=0.9, relapse=((), ())):
    return Pair(0.9, match, [x - shift for x in rl], [x - shift / 2 for x in sft], *relapse)


SHIFTS = [0.0, 0.01, 0.02, 0.03, 0.04]


@pytest.mark.parametrize(("rl", "sft", "name"), [
    (SLOW, FAST, "persists more"), (FAST, SLOW, "persists less"),
])  # fmt: skip
def test_areas_are_compared(rl, sft, name):
    found = persistence([pair(rl, sft, s) for s in SHIFTS])
    assert (found.name, found.pairs, found.matched) == (name, 5, 5)
    assert found.decay.p < found.p == 1 / 32  # in most seeds: all five
    assert found.sentence().startswith(f"{name.capitalize()}: mean exploit rate under correction, RL minus SFT, ")
    assert "5 of 5 pairs matched; in most seeds" in found.sentence()
    assert found.relapse is None


def test_half_lives_are_in_steps_and_censored_at_the_last():
    found = persistence([pair(SLOW, FAST, s) for s in SHIFTS], [0, 5, 10, 15])
    assert found.half_life == {"rl": 15.0, "sft": 10.0}
    assert persistence([pair(SLOW, FAST, s) for s in SHIFTS]).half_life == {"rl": 3.0, "sft": 2.0}
    with pytest.raises(UsageError, match="2 steps do not fit curves of 4 points"):
        persistence([pair(SLOW, FAST)] * 2, [0, 5])


def test_as_persistent_is_shown_and_not_presumed():
    noise = [0.01, -0.01, 0.005, -0.005, 0.0]
    alike = persistence([Pair(0.9, 0.9, [x + e for x in FAST], FAST) for e in noise])
    assert (alike.name, alike.p <= 0.05) == ("as persistent", True)
    wild = persistence([Pair(0.9, 0.9, [x + 30 * e for x in FAST], FAST) for e in noise])
    assert (wild.name, wild.p) == ("inconclusive", None)


def test_no_match_no_verdict():
    off = [pair(SLOW, FAST, s, match=0.86) for s in SHIFTS]
    found = persistence([*off, pair(SLOW, FAST)])
    assert (found.name, found.p, found.matched, found.pairs, found.decay) == ("no match", None, 1, 6, None)
    assert found.sentence() == "No match: 1 of 6 pairs match within 3 points; no verdict."
    assert persistence([*off, *(pair(SLOW, FAST, s) for s in SHIFTS)]).matched == 5


@pytest.mark.parametrize(("a", "b", "same"), [(0.9, 0.87, True), (0.87, 0.9, True), (0.9, 0.8699, False)])
def test_matched_within_three_points(a, b, same):
    assert matched(a, b) is same


def test_relapse_is_compared_too():
    found = persistence([pair(SLOW, FAST, s, relapse=([0.5, 0.9 - s], [0.1, 0.3])) for s in SHIFTS])
    assert found.relapse.estimate.value == pytest.approx(0.5 - 0.01)
    assert found.relapse.p <= 0.05
    assert "; relapse +49.0 points" in found.sentence()


@pytest.mark.parametrize(
    ("curve", "step"), [(FAST, 2), (SLOW, None), ([0.8, 0.3, 0.6, 0.3], 3), ([0.8], None), ([0.0], 0)]
)
def test_half_life_lasts(curve, step):
    assert half_life(curve) == step


def test_curves_of_other_lengths_are_errors():
    good = pair(SLOW, FAST)
    for bad in (
        replace(good, sft_correction=[0.1]),
        replace(good, rl_relapse=[0.1]),
        replace(good, rl_correction=[], sft_correction=[]),
    ):
        with pytest.raises(UsageError, match="of one length"):
            persistence([good, bad])
        with pytest.raises(UsageError, match="of one length"):
            persistence([bad])
    with pytest.raises(UsageError, match="no pair"):
        persistence([])
