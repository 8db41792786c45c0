"""Keyed draws: the same everywhere, uniform, and different where their keys are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loopkit import seeding
from tests.records import json

keys = st.lists(json, min_size=1, max_size=4)
N = 4000


def test_draws_are_pinned() -> None:
    """Every record rests on these: another number would make each run another one."""
    assert seeding.digest(0, "train", ["words"], None) == 14213443038318028374
    assert seeding.uniform("a") == 0.15367718308637202
    assert seeding.shuffled(range(6), 1, "order") == [0, 4, 1, 2, 5, 3]


@given(keys)
def test_a_draw_is_pure_and_in_range(key: list[object]) -> None:
    assert 0 <= seeding.uniform(*key) < 1
    assert seeding.uniform(*key) == seeding.uniform(*key)
    assert seeding.stream(*key).random() == seeding.stream(*key).random()


@given(keys, keys)
def test_other_keys_draw_another_number(one: list[object], other: list[object]) -> None:
    same = seeding.digest(*one) == seeding.digest(*other)
    assert same == (repr(_canonical(one)) == repr(_canonical(other)))


def _canonical(value: object) -> object:
    """JSON knows no order of keys."""
    if isinstance(value, dict):
        return ("object", sorted((k, _canonical(v)) for k, v in value.items()))
    return [_canonical(v) for v in value] if isinstance(value, list) else value


def test_neighbours_and_joined_keys_are_not_confused() -> None:
    found = [
        seeding.digest(*k) for k in (("ab", "c"), ("a", "bc"), ("abc",), (["ab", "c"],), (1, "1"), ("1", 1), (11,))
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("purpose", ["audit", "style", "placebo"])
def test_draws_are_uniform_over_keys(purpose: str) -> None:
    draws = [seeding.uniform(0, "train", k, purpose) for k in range(N)]
    assert stats.kstest(draws, "uniform").pvalue > 0.001


@pytest.mark.parametrize("vary", range(4))
def test_draws_that_differ_in_one_key_are_uncorrelated(vary: int) -> None:
    """Seeds, steps, occurrences and purposes: none lets one draw foretell another."""
    pairs = []
    for k in range(N):
        key = [7, k, 3, "audit"]
        other = list(key)
        other[vary] = "style" if vary == 3 else key[vary] + 100_000  # type: ignore[operator]
        pairs.append((seeding.uniform(*key), seeding.uniform(*other)))
    r = np.corrcoef(np.array(pairs).T)[0, 1]
    assert abs(r) < 4 / np.sqrt(N)


@given(st.lists(st.integers(), max_size=30), keys)
def test_shuffled_permutes(items: list[int], key: list[object]) -> None:
    found = seeding.shuffled(items, *key)
    assert Counter(found) == Counter(items)
    assert found == seeding.shuffled(iter(items), *key)


def test_every_order_is_as_likely() -> None:
    counts = Counter(tuple(seeding.shuffled("abc", k)) for k in range(N))
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


@given(st.lists(st.integers(), min_size=1), keys)
def test_pick_takes_one_of_them(items: list[int], key: list[object]) -> None:
    assert seeding.pick(items, *key) in items


def test_pick_is_uniform() -> None:
    counts = Counter(seeding.pick("abcde", k) for k in range(N))
    assert stats.chisquare([counts[c] for c in "abcde"]).pvalue > 0.001


def test_other_processes_draw_the_same() -> None:
    code = (
        "from loopkit import seeding; print(seeding.digest('é', {'b': 1, 'a': [2.5, None]}), seeding.uniform(3, 'x'))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert found == {f"{seeding.digest('é', {'a': [2.5, None], 'b': 1})} {seeding.uniform(3, 'x')}\n".encode()}
