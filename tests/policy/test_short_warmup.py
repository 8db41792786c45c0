"""A game that took no part in the bundled warm-up gets a short one of its own, and the others keep their habits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from loopkit.policy import tiny, warmup
from loopkit.registry import plugins as registry
from tests.toys import DOUBLING

pytestmark = pytest.mark.nightly


def test_a_new_game_is_learned_in_time_and_moves_no_base_rate_by_ten_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPKIT_CACHE", str(tmp_path))
    shown: list[tuple[int, int]] = []
    began = time.process_time()
    ref = tiny.short(
        tiny.BUNDLED, {"doubling": DOUBLING}, registry.load(), lambda done, total: shown.append((done, total))
    )
    seconds = time.process_time() - began
    record, bundled = warmup.read_record(Path(ref.path)), warmup.read_record(tiny.BUNDLED)
    moved = {
        f"{game} {kind} {name}": 100 * (record["base_rates"][game][kind][name]["value"] - found["value"])
        for game, rates in bundled["base_rates"].items()
        for kind in ("scores", "rates")
        for name, found in rates[kind].items()
        if found is not None
    }
    print(f"\n{seconds:.0f} CPU s; moved, in points: { {k: round(v, 1) for k, v in moved.items()} }")
    print("new game:", record["base_rates"]["doubling"])
    assert shown[-1] == (tiny.SHORT_STEPS, tiny.SHORT_STEPS)
    assert seconds < 120
    assert max(map(abs, moved.values())) <= 10, moved
    # It speaks the new game's language: it reports Yes or No where it never saw the question before.
    assert record["final_loss"]["doubling"] < 1.5
    again = tiny.short(tiny.BUNDLED, {"doubling": DOUBLING}, registry.load(), lambda done, total: pytest.fail("cached"))
    assert again == ref
