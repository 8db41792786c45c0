"""Results that mislead: each is told as what it is, and the page says what is said."""

from __future__ import annotations

import json

from tools.misled import PAGE, RECORD, of_now, table

CASES = json.loads(RECORD.read_text())


def test_no_result_that_misleads_is_told_as_0_1_told_it() -> None:
    now = [of_now(case)[0] for case in CASES]
    assert now == [
        "not shown", "exploit rises", "no exploit", "not shown", "breakthrough", "exploit rises",
        "pattern: blind spot", "degenerate", "blind spot", "pattern: blind spot",
    ]  # fmt: skip
    assert all(case["0.1"] != name for case, name in zip(CASES, now, strict=True))


def test_the_sentence_says_what_would_mislead() -> None:
    sentences = [of_now(case)[1] for case in CASES]
    for place, words in {0: "against placebo", 1: "observed falls", 3: "1 of 10 seeds had an onset", 4: "3 of 5 seeds",
                         5: "no room to fall", 6: "no test", 7: "nothing was learned", 8: "each above +4",
                         9: "5 seeds of 7"}.items():  # fmt: skip
        assert words in sentences[place]


def test_the_page_says_what_is_said_now() -> None:
    assert table(CASES) in PAGE.read_text()
