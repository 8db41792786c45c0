"""The simulation's rules are the package's, its page is the one it writes, and a few cells are drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from loopkit.stats.seeds import DESCRIPTIVE_BELOW
from loopkit.stats.verdict import Levels, rows, verdict
from tests.stats.claimed import DOC, claims, critical, false_claims, nulls_text
from tests.stats.nulls import NULLS, SHAPES, World, worlds


def one_by_one(world: World, i: int) -> str:
    """What ``verdict`` says of the i-th experiment."""
    kept = ~world.missing[i]
    if not kept.any():
        return "not shown"

    def minus(measure: str, arm: str) -> list[float]:
        return world.minus(measure, arm)[i][kept].tolist()

    found = verdict(
        minus("exploit", "base"),
        minus("exploit", "control"),
        minus("task", "base"),
        minus("observed", "base"),
        observed_is_paid=world.paid,
        task_vs_control=minus("task", "control"),
        exploit_vs_placebo=minus("exploit", "placebo"),
        task_vs_placebo=minus("task", "placebo"),
        onsets=world.onset["loophole"][i][kept].tolist(),
        placebo_onsets=world.onset["placebo"][i][kept].tolist(),
        levels=Levels(*(float(world.rates[m, "base"][i][kept].mean()) for m in ("exploit", "task", "observed"))),
        missing=int(world.missing[i].sum()),
    )
    return "not shown" if found.descriptive else found.name


def test_the_rules_that_are_simulated_are_those_of_the_package() -> None:
    critical(8)
    seen = set()
    for k, (null, name, _, _, draw) in enumerate(worlds(held=False)):
        s, rng = (4, 5, 8)[k % 3], np.random.default_rng(k)
        world = draw(rng, (1, s))
        claimed = claims(world)
        names = [n for n, _ in rows(world.paid) if claimed[n][0]]
        if names != [
            "degenerate"
        ]:  # which arms are alike is asked of every pair there, and of the given contrasts here
            assert names == [one_by_one(world, 0)], (null, name, s)
        seen |= set(names)
    assert len(seen) >= 7


def test_the_page_lists_the_nulls_as_they_are() -> None:
    assert len(SHAPES) + len(NULLS) >= 12
    assert nulls_text() in DOC.read_text()


@pytest.mark.parametrize("null", ["half and half", "spontaneous"])
def test_false_claims_stay_below_their_bound(null: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [w for w in worlds(False) if w[0] == null][::4]
    monkeypatch.setattr("tests.stats.claimed.worlds", lambda held: chosen)
    found = false_claims(["now"], (3, 5), False, held=False, n=400)
    assert max(found.values()) <= 0.05 + 3 * (0.0475 / 400) ** 0.5
    assert all(share == 0 for (*_, s), share in found.items() if s < DESCRIPTIVE_BELOW)
