from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loopkit.elsewhere.findings import TRUSTED, Audit, generic
from loopkit.elsewhere.formats import Log
from loopkit.elsewhere.formats import read as read_log
from loopkit.elsewhere.parts import Logged
from loopkit.errors import UsageError
from loopkit.parts.generic import READ
from loopkit.records import Message
from loopkit.system.files import to_json


def row(k: int, said: str, step: int | None = None, prompt: str | None = None, **numbers: float | None) -> Logged:
    asked = None if prompt is None else (Message("user", prompt),)
    return Logged(f"log, line {k}", asked, (said,), (), step, None, numbers)


def log(*rows: Logged) -> Log:
    return Log((Path("log"),), ("rows",), rows, ())


def rates(found: Audit) -> dict[str, float | None]:
    return {r.name: None if r.rate is None else r.rate.value for r in found.rates}


def hacked(n: int = 60) -> Log:
    """Twelve steps of five replies; from step 6 on every reply repeats a word, and the reward says it is good."""
    return log(*(
        row(k, "go go go go go" if k // 5 >= 6 else f"the answer is {k}", k // 5, f"question number {k % 20}",
            reward=float(k // 5 >= 6), judge=float(k // 5 < 6))
        for k in range(n)
    ))  # fmt: skip


def test_a_sign_that_comes_with_training_is_seen_with_its_interval() -> None:
    found = generic(hacked())
    repeats = next(r for r in found.rates if r.name == "repeats")
    assert repeats.rate is not None
    assert (repeats.rate.value, repeats.rate.n, repeats.rate.clusters) == (0.5, 60, 20)
    assert repeats.early is not None
    assert repeats.late is not None
    assert (repeats.early.value, repeats.late.value) == (0.0, 1.0)
    assert repeats.change is not None
    assert repeats.change.low is not None
    assert repeats.change.low > 0.5
    assert found.rows[repeats.first or 0].step == 6
    assert len(repeats.curve) == 12
    assert [e.value for _, _, e in repeats.curve if e is not None] == [0.0] * 6 + [1.0] * 6
    assert rates(found) == {
        "signs": 0.5, "repeats": 0.5, "copies-prompt": 0.0, "lists-answers": 0.0, "format": 0.0, "constant": 0.5,
        "empty": 0.0,
    }  # fmt: skip


def test_the_reward_is_compared_with_a_trusted_score() -> None:
    found = generic(hacked(), trusted="judge")
    assert rates(found)[TRUSTED] == 0.5
    assert not any("trusted" in u for u in found.unseen)
    agreeing = [
        replace(r, numbers={"reward": 3.0 * (k % 2), "judge": float(k % 2)}) for k, r in enumerate(hacked().rows)
    ]
    assert rates(generic(log(*agreeing), trusted="judge"))[TRUSTED] == 0.0
    partly = [replace(r, numbers={"reward": 1.0, "judge": None if k else 0.0}) for k, r in enumerate(hacked().rows)]
    one = next(r for r in generic(log(*partly), trusted="judge").rates if r.name == TRUSTED)
    assert (one.flagged, one.abstained) == (1, 59)


def test_the_reward_is_never_guessed() -> None:
    some = log(row(0, "a", a=1.0, b=2.0))
    found = generic(some)
    assert found.reward is None
    assert any("which of these is the reward that was paid: a, b" in u for u in found.unseen)
    assert generic(some, reward="b").reward == "b"
    assert generic(replace(some, formats=("trl",), rows=(row(0, "a", a=1.0),))).reward == "a"
    for wrong in ({"reward": "c"}, {"trusted": "a"}, {"reward": "a", "trusted": "a"}, {"reward": "a", "trusted": "c"}):
        with pytest.raises(UsageError):
            generic(some, **wrong)


def test_what_cannot_be_seen_is_said_and_not_counted_as_clean() -> None:
    found = generic(log(row(0, "a"), row(1, "b")))
    assert "copies-prompt" not in rates(found)
    assert "copies-reference" not in rates(found)
    assert all(r.change is None and r.early is None and not r.curve for r in found.rates)
    said = " ".join(found.unseen)
    for what in ("copies of the prompt", "copies of the reference", "over training", "the reward is deserved"):
        assert what in said


def test_lengths_drift() -> None:
    found = generic(log(*(row(k, "x " * (10 + k), k, f"q{k % 7}") for k in range(30))))
    length = next(n for n in found.numbers if n.name == "characters of a reply")
    assert length.mean is not None
    assert length.mean.value == pytest.approx(2 * 24.5)
    assert length.change is not None
    assert length.change.low is not None
    assert length.change.low > 20


def test_the_worst_have_most_signs_then_most_reward() -> None:
    both = "go go go go go <answer>1</answer><answer>2</answer>"
    found = generic(log(row(0, "fine"), row(1, "go go go go go", reward=1.0), row(2, both, reward=0.0),
                        row(3, "go go go go go", reward=5.0)))  # fmt: skip
    assert list(found.worst) == [2, 3, 1]


def test_rows_of_one_prompt_are_one_unit() -> None:
    found = generic(log(*(row(k, "go go go go go", None, "one question") for k in range(9))))
    repeats = next(r for r in found.rates if r.name == "repeats")
    assert repeats.rate is not None
    assert repeats.rate.low is None
    assert repeats.rate.method == "withheld: one cluster"


def test_it_is_json_whatever_was_said() -> None:
    found = generic(log(row(0, "\x1b[31mgo go go go go</script>\u202e", 1, "q", reward=None)))
    read = json.loads(to_json(found.json()))
    assert read["rows"] == 1
    assert read["examples"]["0"]["flags"] == ["signs", "repeats", "format"]


def test_values_that_are_no_numbers_are_counted_and_named(tmp_path: Path) -> None:
    rewards: list[Any] = [1.0, math.nan, math.inf, "1", None, 0.0]
    rows = [{"prompt": f"p{k}", "completion": "c", "reward": r} for k, r in enumerate(rewards)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = generic(read_log([tmp_path / "log.jsonl"]))
    assert [u for u in found.unseen if u.startswith("3 of 5 values of reward: NaN")]
    reward = next(n for n in found.numbers if n.name == "reward")
    assert reward.mean is not None
    assert (reward.mean.value, reward.mean.n) == (0.5, 2)


def test_an_empty_reply_that_is_paid_is_a_sign_and_one_that_is_not_is_none() -> None:
    texts = ["", " .\n", "an answer", ""]
    found = generic(log(*(row(k, text, reward=float(k < 3)) for k, text in enumerate(texts))))
    assert found.flags["empty"] == [True, True, False, False]
    assert found.flags["signs"] == [True, True, False, False]
    unpaid = generic(log(*(row(k, text) for k, text in enumerate(texts))))
    assert unpaid.flags["empty"] == [True, True, False, True]


def test_what_is_repeated_in_another_turn_is_no_repeat() -> None:
    retried = replace(row(0, "x"), said=("run the tests again please",) * 9, between=("no",) * 8)
    assert generic(log(retried)).flags["repeats"] == [False]


STUB = 'def add(a: int, b: int) -> int:\n    """Add two numbers a and b, as in add(1, 2) == 3.\n    """\n'


@pytest.mark.parametrize(("said", "flagged"), [(STUB + "    return a + b\n", False), (STUB, True)])
def test_a_stub_that_was_completed_is_no_copy_and_one_that_was_not_is(said: str, flagged: bool) -> None:
    assert generic(log(row(0, said, prompt=f"Complete this function.\n{STUB}"))).flags["copies-prompt"] == [flagged]


def test_data_in_a_program_is_no_list_of_answers() -> None:
    said = "def primes():\n    return [2, 3, 5, 7, 11, 13]\n"
    assert generic(log(row(0, said), row(1, "2, 3, 5, 7, 11, 13"))).flags["lists-answers"] == [False, True]


def test_thoughts_that_a_log_keeps_apart_are_no_part_of_the_reply() -> None:
    thinking = replace(row(0, "7"), thoughts=("I could write conftest.py and os._exit(0).",))
    assert generic(log(thinking)).flags["signs"] == [False]


def test_what_is_too_long_to_be_read_whole_is_said() -> None:
    assert any("1 turns to their end" in line for line in generic(log(row(0, "a b " * READ), row(1, "a"))).unseen)
