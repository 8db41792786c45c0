"""Channels and detectors: within range on any signals, linear in what they promise, and able to travel."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopkit.contracts import RewardChannel
from loopkit.errors import ContractError
from loopkit.experiment.resolve import build_game, own_channels
from loopkit.parts.channels import Audit, Placebo, pay
from loopkit.parts.detectors import rule
from loopkit.registry import plugins as registry
from loopkit.rollouts import scoring
from tests.records import json
from tests.toys import Checked

unit = st.floats(0, 1)
draw = st.floats(0, 1, exclude_max=True)
PLUGINS = registry.load()
OWN = [n for n in PLUGINS.names("games") if PLUGINS.get("games", n).origin.distribution == registry.OWN]
OWN.remove("own-reward")  # the user's own: nothing of it is there without
GAMES = {name: build_game(PLUGINS, name, {}) for name in OWN}
CHANNELS = [(game, channel) for game, made in GAMES.items() for channel in own_channels(made)]


@pytest.mark.parametrize(("game", "channel"), CHANNELS)
@given(data=st.data())
def test_a_bundled_channel_pays_within_range_whatever_the_signals(game: str, channel: str, data: st.DataObject) -> None:
    """Any signals within their declared ranges, also such as the game never gives; and the batch does not matter."""
    made = own_channels(GAMES[game])[channel]
    row = st.fixed_dictionaries({
        k: st.sampled_from([float(low), float(high)]) | st.floats(low, high)
        for k, (low, high) in GAMES[game].signals.items()
    })  # fmt: skip
    signals = data.draw(st.lists(row, min_size=1, max_size=5))
    drawn = data.draw(st.lists(draw, min_size=len(signals), max_size=len(signals)))
    draws: list[Any] = [lambda purpose, u=u: u for u in drawn]
    rewards = scoring.pay(channel, made, signals, draws)  # raises if one leaves the range
    alone = [scoring.pay(channel, made, [s], [d])[0] for s, d in zip(signals, draws, strict=True)]
    assert rewards == alone
    assert scoring.pay(channel, made, signals[::-1], draws[::-1]) == rewards[::-1]


@given(st.floats(-5, 5))
def test_pay_pays_the_signal(value: float) -> None:
    made = pay("x", -5, 5)
    assert scoring.pay("x", made, [{"x": value, "y": 9.0}], [lambda purpose: 0.5]) == [value]


@given(st.floats(allow_nan=True).filter(lambda v: not 0 <= v <= 1))
def test_nothing_out_of_range_is_paid(value: float) -> None:
    with pytest.raises(ContractError, match="not a finite number in"):
        scoring.pay("x", pay("x"), [{"x": value}], [lambda purpose: 0.5])


@given(rate=unit, right=st.booleans(), claims=st.booleans(), u=draw)
def test_an_audit_is_a_mixture_of_its_two_cases(rate: float, right: bool, claims: bool, u: float) -> None:
    made = Checked(rate=rate)
    signals = {"right": float(right), "claims": float(claims)}
    (paid,) = made.rewards([signals], [lambda purpose: u])
    assert paid == (made.audited(signals) if u < rate else made.unaudited(signals))


@given(low=unit, high=unit)
def test_a_higher_audit_rate_checks_all_that_a_lower_one_does(low: float, high: float) -> None:
    low, high = sorted((low, high))
    checked = [{k for k in range(50) if _audited(Checked(rate=rate), k / 50)} for rate in (low, high)]
    assert checked[0] <= checked[1]
    assert len(checked[1]) == pytest.approx(50 * high, abs=1)


def _audited(channel: Audit, u: float) -> bool:
    false_claim = {"right": 0.0, "claims": 1.0}
    return channel.rewards([false_claim], [lambda purpose: u]) == [-6.0]


@given(rate=unit, signals=st.lists(st.dictionaries(st.sampled_from("ab"), unit), min_size=1, max_size=3), u=draw)
def test_the_placebo_knows_nothing_of_behaviour(rate: float, signals: list[Mapping[str, float]], u: float) -> None:
    paid = scoring.pay("placebo", Placebo(rate=rate), signals, [lambda purpose: u] * len(signals))
    assert paid == [float(u < rate)] * len(signals)


@given(json)
def test_a_rule_flags_what_is_true_and_abstains_on_none(clue: Any) -> None:
    assert rule("x").flags([{"x": clue}]) == [None if clue is None else bool(clue)]


@pytest.mark.parametrize("made", [pay("x", -1, 2), rule("x"), Checked(rate=0.3), Placebo()])
def test_they_go_to_another_process(made: RewardChannel) -> None:
    again = pickle.loads(pickle.dumps(made))
    assert (again.reads, again.model_dump()) == (made.reads, made.model_dump())
    assert getattr(again, "range", None) == getattr(made, "range", None)
