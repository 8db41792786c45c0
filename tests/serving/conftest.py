"""Fixtures of the served referee."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from loopkit import serving
from loopkit.rollouts.playing import play
from loopkit.serving import Server, serve
from tests.serving.parts import Kept, Scripted, local, paid_by_words


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries keep their order but not their length."""
    real = time.sleep
    monkeypatch.setattr(serving.client.time, "sleep", lambda seconds: real(seconds / 100))


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(local()) as server:
        yield server


@pytest.fixture(scope="module")
def reference() -> tuple[Kept, Counter[object]]:
    """Step 2 as the local referee has it, and its rewards by slot and words."""
    kept = Kept()
    referee = local(kept)
    played = play(referee, Scripted(), 2)
    referee.close(2, {"loss": 0.5})
    return kept, paid_by_words(played)
