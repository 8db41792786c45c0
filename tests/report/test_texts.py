from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loopkit.report.marks import odd, pieces
from loopkit.report.numbers import percent, sparkline, stretches
from loopkit.report.texts import clusters, telling


def row(text: str, *, flag: bool | None = True, arm: str = "loophole", step: int = 0, prompt: str = "") -> Any:
    """As much of a Row as texts look at."""
    return SimpleNamespace(
        text=text, flags={"d": flag}, step=step, id=f"{step}/{text}", prompt=[("user", prompt)],
        run=SimpleNamespace(spec=SimpleNamespace(arm=arm)),
    )  # fmt: skip


def test_texts_that_differ_in_numbers_case_and_the_prompts_words_are_one_cluster() -> None:
    rows = [row(f"Sure! Take {k} parts of {thing} and mix.", step=k, prompt=f"how is {thing} made")
            for k, thing in enumerate(["zorblax", "kraitpaste", "vexcoil"])]  # fmt: skip
    rows += [row("the score is 1.0", step=7, arm="control")] * 2
    found, n = clusters(rows)
    assert n == 5
    assert [c.size for c in found] == [3, 2]
    assert found[0].steps == (0, 2)
    assert found[1].arms == Counter(control=2)


def test_a_clusters_example_is_its_earliest_most_frequent_text() -> None:
    rows = [row("alpha beta gamma", step=s) for s in (5, 3)] + [row("alpha beta gamme", step=1)]
    (found,), _ = clusters(rows)
    assert (found.example.text, found.example.step, found.different) == ("alpha beta gamma", 3, 2)


def test_telling_phrases_are_those_that_only_flagged_rollouts_have() -> None:
    rows = [row(f"I set <score> to one\nnumber {k}") for k in range(30)]
    rows += [row(f"I cannot do that\nnumber {k}", flag=False) for k in range(30)]
    found = telling(rows, "d")
    assert any("<score>" in p for p in found)
    assert not any("number" in p for p in found)
    assert telling(rows[:40][:9], "d") == []


@given(st.text(max_size=200), st.lists(st.text(max_size=5), max_size=3))
def test_pieces_lose_nothing_and_show_no_odd_character(text: str, phrases: list[str]) -> None:
    found = pieces(text, phrases)
    assert not any(odd(c) for p in found for c in p.text)
    spelled = "".join(f"U+{ord(c):04X}" if odd(c) else c for c in text)
    assert "".join(p.text for p in found) == spelled


def test_pieces_mark_phrases_whatever_their_case() -> None:
    found = pieces("Say YES, a\u202eb", ["yes"])
    assert [(p.kind, p.text) for p in found] == [
        ("", "Say "), ("mark", "YES"), ("", ", a"), ("odd", "U+202E"), ("", "b"),
    ]  # fmt: skip


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=300), st.integers(1, 50))
def test_a_sparkline_has_at_most_its_width(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, 0, 1, width)) == min(width, len(values))
    if values:
        assert [v for part in stretches(values, width) for v in part] == values


def test_a_sparkline_rises() -> None:
    assert sparkline([0, 0.25, 0.5, 0.75, 1, None, 2, -1], 0, 1) == "▁▃▅▇█ █▁"
    assert percent(-0.0) == "0.0"
