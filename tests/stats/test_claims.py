"""The engine of claims: what 0.1 said of 200 inputs, as data, and what is shown when."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from scipy.stats import binom

from loopkit.errors import UsageError
from loopkit.stats.claims import AVERAGE_FROM, MarginTest, basis, component, first, judge, most
from loopkit.stats.mitigation import mitigation
from loopkit.stats.persistence import Pair, persistence
from loopkit.stats.seeds import one_sided_p, unseen
from loopkit.stats.shortcut import shortcut
from loopkit.stats.verdict import verdict

OLD = json.loads((Path(__file__).parents[1] / "data" / "claims.json").read_text())
"""Made by 0.1's code: arguments, name, p-values, and [mean, p, sign p] of every test."""
CLAIMS = {
    "verdict": verdict,
    "mitigation": mitigation,
    "shortcut": shortcut,
    "persistence": lambda pairs: persistence([Pair(*pair) for pair in pairs]),
}


@pytest.mark.parametrize("kind", ["verdict", "mitigation", "shortcut"])
def test_estimates_and_p_values_are_those_of_0_1(kind: str) -> None:
    """Of every test, from 5 seeds on; below, nothing is tested any more."""
    cases = [case for case in OLD if case["of"] == kind]
    assert len(cases) >= 40
    for case in cases:
        now = CLAIMS[kind](*case["arguments"], **case["options"])
        assert set(case["tests"]) <= set(now.components)
        for test, (mean, p, _) in case["tests"].items():
            found = now.components[test]
            assert found.estimate.value == pytest.approx(mean, rel=1e-5, abs=1e-12)
            assert found.p == (None if now.seeds < 5 else pytest.approx(p, rel=1e-5, abs=1e-12))


@pytest.mark.parametrize("kind", ["mitigation", "shortcut", "persistence"])
def test_nothing_is_claimed_that_0_1_did_not_show(kind: str) -> None:
    for case in OLD:
        if case["of"] == kind:
            now = CLAIMS[kind](*case["arguments"], **case["options"])
            assert now.name in (case["name"], "inconclusive", "reduces") or now.name.startswith("pattern: ")
            assert now.p is None or now.name == "reduces" or now.p >= case["p"] * (1 - 1e-5)


TESTS = {"a rises": MarginTest("a", "greater", 0.1), "b rises": MarginTest("b", "greater", 0.1)}
UP, FLAT = [0.5, 0.55, 0.6, 0.52, 0.58], [0.0, 0.01, -0.01, 0.02, 0.0]


def test_the_first_row_whose_tests_are_all_shown_is_claimed_at_the_largest_p() -> None:
    rows = [("both", ("a rises", "b rises")), ("one", ("a rises",)), ("none", ())]
    both, one, none = (judge(rows, TESTS, {"a": a, "b": b}) for a, b in ((UP, UP), (UP, FLAT), (FLAT, UP)))
    assert (both.name, one.name, none.name) == ("both", "one", "none")
    assert both.p == one.p == most(5, 5) == 1 / 32  # that of "most seeds", which is the larger here
    wide = [0.12, 0.5, 0.3, 0.7, 0.14]
    assert judge(rows, TESTS, {"a": wide, "b": wide}).p == pytest.approx(one_sided_p(wide, 0.1, "greater"))
    assert none.p is None


@pytest.mark.parametrize(("agree", "n"), [(5, 5), (7, 8), (9, 10), (15, 20)])
def test_as_many_seeds_must_agree_as_the_sign_test_needs(agree: int, n: int) -> None:
    rows = [("up", ("a rises",)), ("none", ())]
    enough, fewer = (
        judge(rows, TESTS, {"a": [0.5 + 0.001 * i for i in range(k)] + [0.05] * (n - k)}) for k in (agree, agree - 1)
    )
    assert (enough.name, enough.agree) == ("up", agree)
    assert enough.p == pytest.approx(binom.sf(agree - 1, n, 0.5)) or enough.p == enough.components["a rises"].p
    assert fewer.name == "none"
    assert fewer.components["a rises"].p < 0.05 or n == 5  # so it is the sign test that withholds it


def test_the_seeds_that_agree_must_be_the_same_in_all_tests_of_a_row() -> None:
    rows = [("both", ("a rises", "b rises")), ("one", ("a rises",)), ("none", ())]
    a, b = [0.5] * 9 + [0.05], [0.05] + [0.5] * 9
    judged = judge(rows, TESTS, {"a": a, "b": b})
    assert judged.shown("a rises")
    assert judged.shown("b rises")
    assert (judged.name, judged.agree) == ("one", 9)
    assert judge(rows, TESTS, {"a": a, "b": a}).name == "both"


def test_a_pattern_needs_every_seed() -> None:
    rows = [("up", ("a rises",)), ("none", ())]
    assert judge(rows, TESTS, {"a": [0.5, 0.5, 0.6]}).name == "pattern: up"
    assert judge(rows, TESTS, {"a": [0.5, 0.5, 0.05]}).name == "none"


@pytest.mark.parametrize(
    ("measured", "missing", "tested"), [(4, 0, False), (5, 0, True), (5, 1, False), (7, 1, True), (12, 3, True)]
)
def test_too_few_seeds_describe_a_pattern_and_missing_ones_count_against(measured, missing, tested) -> None:
    rows = [("up", ("a rises",)), ("none", ())]
    values = [0.5 + 0.01 * i for i in range(measured)]
    judged = judge(rows, TESTS, {"a": values}, missing=missing)
    assert judged.name == ("up" if tested else "pattern: up")
    assert (judged.p is None) == (judged.components["a rises"].p is None) == (not tested)
    assert tested == (binom.sf(measured - 1, measured + missing, 0.5) <= 0.05)


def test_what_is_refused_is_not_shown_and_a_fact_is() -> None:
    rows = [("fact", ("seen",)), ("up", ("a rises",)), ("none", ())]
    assert judge(rows, TESTS, {"a": UP}, facts={"seen": True}).name == "fact"
    assert judge(rows, TESTS, {"a": UP}, facts={"seen": False}).name == "up"
    assert judge(rows, TESTS, {"a": UP}, facts={"seen": False}, refused=["a rises"]).name == "none"


def test_a_test_that_was_not_given_is_not_shown_unless_optional() -> None:
    rows = [("both", ("a rises", "b rises")), ("none", ())]
    assert judge(rows, TESTS, {"a": UP, "b": None}).name == "none"
    assert judge(rows, TESTS, {"a": UP, "b": None}, optional=("b rises",)).name == "both"


def test_any_member_of_a_family_makes_the_claim_at_holms_p() -> None:
    family = {"any": {"a": ("a rises",), "b": ("b rises",)}}
    judged = judge([("some", ("any",)), ("none", ())], TESTS, {"a": UP, "b": FLAT}, family)
    assert (judged.name, judged.risen("any")) == ("some", ["a"])
    assert judged.members["any"]["a"].p == pytest.approx(2 * judged.components["a rises"].p)


def test_differences_are_paired_by_seed_and_there_is_one() -> None:
    with pytest.raises(UsageError, match="paired by seed"):
        judge([("none", ())], TESTS, {"a": UP, "b": UP[:2]})
    for nothing in ({"a": []}, {"a": None}):
        with pytest.raises(UsageError, match="no seed"):
            judge([("none", ())], TESTS, nothing)


def test_every_outcome_has_a_row() -> None:
    assert first([("x", ("a",)), ("rest", ())], set().__contains__)[0] == "rest"


@pytest.mark.parametrize("sign", [1, -1])
def test_differences_of_rates_lie_within_one_and_rewards_anywhere(sign: int) -> None:
    rates = MarginTest("a", "greater", 0.1)
    inside = component([sign * d for d in (0.3, 0.35, 0.4, 0.32, 0.38)], rates).estimate
    past = [sign * d for d in (1.0, 1.0, 0.98, 1.0, 0.7)]
    assert inside.low is not None
    assert "past the end" in component(past, rates).estimate.method
    assert component(past, rates._replace(bounds=None)).estimate.method == "t over seeds"


def words(runs: int, p: float | None = 0.02, reach: float | None = None, **others: int) -> Callable[[], str]:
    return partial(basis, runs, p, reach, **others)


FEW, MANY = AVERAGE_FROM - 1, AVERAGE_FROM


@pytest.mark.parametrize(
    ("says", "holds", "lacks"),
    [
        (words(1), ["1 seed:", "no test"], ["seeds", "p ="]),
        (words(5, missing=1), ["5 seeds of 6, the others lack a rate: no test"], ["p ="]),
        (words(8, None, 0.123), ["8 seeds, power 0.8 from 12.3 points"], ["on average", "lack"]),
        (words(8, None), ["8 seeds"], ["power", "p ="]),
        (words(FEW), [f"nothing on average below {MANY} seeds: {FEW} seeds, every one so, p = 0.020"], ["and on"]),
        (words(MANY), [f"and on average: {MANY} seeds, every one so"], ["nothing", "below", "lack"]),
        (words(MANY, agree=MANY - 1), ["nothing on average:", f"{MANY - 1} of them so"], ["below", "every one"]),
        (words(FEW, agree=FEW - 1), ["nothing on average:", f"{FEW - 1} of them so"], ["below", "every one"]),
        (
            words(MANY, missing=1),
            ["nothing on average:", f"of {MANY + 1}, the others lack a rate"],
            ["and on", "below"],
        ),
        (
            words(20, 0.0001, missing=2, agree=18),
            ["p < 0.001", f"up to {100 * unseen(22, others=4):.0f} % of"],
            ["p ="],
        ),
    ],
)
def test_a_claim_says_what_it_rests_on(says: Callable[[], str], holds: list[str], lacks: list[str]) -> None:
    said = says()
    assert [part for part in holds if part not in said] == []
    assert [part for part in lacks if part in said] == []
