"""The sample of tasks, the garbage, the trip through JSON, and the grid of draws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopkit.checks import economics
from loopkit.checks.specimens import Specimen, garbage_texts, is_json, is_text, sample, specimens_of, through_json
from tests.records import rollouts
from tests.toys import DOUBLING


def test_grid_is_exact_for_one_purpose_and_does_not_align_two() -> None:
    audit, style = ([economics.grid(k, p) for k in range(economics.GRID)] for p in ("audit", "style"))
    assert sorted(audit) == sorted(style) == [(k + 0.5) / economics.GRID for k in range(economics.GRID)]
    assert sum(u < 0.1 for u in audit) == economics.GRID // 10
    both = sum(a < 0.5 and s < 0.5 for a, s in zip(audit, style, strict=True)) / economics.GRID
    assert both == pytest.approx(0.25, abs=0.1)  # aligned purposes would give 0.5


def test_sample_keeps_clusters_whole() -> None:
    found = sample(DOUBLING.tasks("train"), 7, "train")
    assert len(found) == 8
    assert len({t.cluster for t in found}) == 4
    assert found == sample(DOUBLING.tasks("train"), 7, "train")


def test_garbage_is_keyed_and_odd() -> None:
    played: list[Specimen] = []
    assert not list(specimens_of(DOUBLING, [("train", DOUBLING.tasks("train")[0])], played))
    texts = garbage_texts(1000, played)
    assert texts == garbage_texts(1000, played)
    assert texts[:200] == garbage_texts(200, played)
    assert len(texts) == 1000
    assert len(set(texts)) > 500  # the toy's specimens are short, so some meet
    assert "" in texts
    assert max(map(len, texts)) >= 20_000
    assert any("\u202e" in t for t in texts)
    assert any("\u200b" in t for t in texts)


@given(rollouts)
def test_a_rollout_survives_json(rollout: object) -> None:
    assert through_json(rollout) == rollout  # type: ignore[arg-type]


@given(st.text() | st.integers() | st.none())
def test_what_is_text_can_be_written(value: object) -> None:
    assert is_text(value) == (isinstance(value, str) and value == value.encode("utf-8", "replace").decode())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.tuples(s, s)))
def test_tuples_are_no_json(value: object) -> None:
    assert is_json(value) == ("(" not in repr(_without_text(value)))


def _without_text(value: object) -> object:
    if isinstance(value, str):
        return 0
    return type(value)(map(_without_text, value)) if isinstance(value, (list, tuple)) else value  # type: ignore[call-arg]
