"""Run by hand: scoring keeps its speed and its memory over 100,000 rollouts (`pytest -m acceptance`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.proxy_metric import read, scale, speed

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]


def texts() -> list[str]:
    """The 100 real articles, if they are at hand, else 100 of our own."""
    real = Path(os.environ.get("LOOPKIT_DATA", ".")) / "cnn-dailymail-test.parquet"
    return read(str(real) if real.exists() else "")


def test_100000_rollouts_take_linear_time_and_flat_memory() -> None:
    parts = scale(100_000, texts())
    for part in parts:
        print(part)
    early, late = (sum(p["cpu_s"] for p in half) for half in (parts[:5], parts[5:]))
    assert late < 1.3 * early
    assert parts[-1]["rss_mb"] - parts[4]["rss_mb"] < 40  # the caches fill early, and are bounded


def test_it_beats_the_plain_scorer_with_identical_values() -> None:
    found = speed(texts())
    print(found)
    assert found["largest_difference"] <= 1e-9
    assert found["ratio_cold"] > 15
