"""The engine of claims: what 0.1 said of 200 inputs, as data, and what every table over it must keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopkit.errors import UsageError
from loopkit.stats.claims import MarginTest, first, judge
from loopkit.stats.mitigation import mitigation
from loopkit.stats.persistence import Pair, persistence
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


@pytest.mark.parametrize("kind", CLAIMS)
def test_names_tests_and_p_values_are_those_of_0_1(kind: str) -> None:
    cases = [case for case in OLD if case["of"] == kind]
    assert len(cases) >= 30
    for case in cases:
        now = CLAIMS[kind](*case["arguments"], **case["options"])
        assert now.name == case["name"]
        assert now.p == (None if case["p"] is None else pytest.approx(case["p"], rel=1e-5))
        if kind == "persistence":
            continue
        assert now.sign_p == (None if case["sign_p"] is None else pytest.approx(case["sign_p"], rel=1e-5))
        assert list(now.components) == list(case["tests"])
        for test, numbers in case["tests"].items():
            found = now.components[test]
            assert (found.estimate.value, found.p, found.sign_p) == pytest.approx(numbers, rel=1e-5, abs=1e-12)


TESTS = {"a rises": MarginTest("a", "greater", 0.1), "b rises": MarginTest("b", "greater", 0.1)}
UP, FLAT = [0.5, 0.55, 0.6, 0.52, 0.58], [0.0, 0.01, -0.01, 0.02, 0.0]


def test_the_first_row_whose_tests_are_all_shown_is_claimed_at_the_largest_p() -> None:
    rows = [("both", ("a rises", "b rises")), ("one", ("a rises",)), ("none", ())]
    both, one, none = (judge(rows, TESTS, {"a": a, "b": b}) for a, b in ((UP, UP), (UP, FLAT), (FLAT, UP)))
    assert (both.name, one.name, none.name) == ("both", "one", "none")
    assert both.p == max(both.components[test].p for test in TESTS)
    assert one.p == one.components["a rises"].p
    assert none.p is none.sign_p is None


def test_a_test_that_was_not_given_is_not_shown_unless_optional() -> None:
    rows = [("both", ("a rises", "b rises")), ("none", ())]
    assert judge(rows, TESTS, {"a": UP, "b": None}).name == "none"
    assert judge(rows, TESTS, {"a": UP, "b": None}, optional=("b rises",)).name == "both"


def test_any_member_of_a_family_makes_the_claim_at_holms_p() -> None:
    family = {"any": {"a": ("a rises",), "b": ("b rises",)}}
    judged = judge([("some", ("any",)), ("none", ())], TESTS, {"a": UP, "b": FLAT}, family)
    assert (judged.name, judged.risen("any")) == ("some", ["a"])
    assert judged.p == pytest.approx(2 * judged.components["a rises"].p)


def test_differences_are_paired_by_seed_and_there_is_one() -> None:
    with pytest.raises(UsageError, match="paired by seed"):
        judge([("none", ())], TESTS, {"a": UP, "b": UP[:2]})
    for nothing in ({"a": []}, {"a": None}):
        with pytest.raises(UsageError, match="no seed"):
            judge([("none", ())], TESTS, nothing)


def test_every_outcome_has_a_row() -> None:
    assert first([("x", ("a",)), ("rest", ())], set().__contains__)[0] == "rest"
