"""The graders of OpenEnv's reserved checks: numbers here; by OpenEnv's own registry and a real server, nightly."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

import pytest
from loopkit_openenv.measure import Measured, _above
from loopkit_openenv.playing import text_of

from loopkit.export.write import write
from loopkit.registry import plugins
from tests.export.test_real_libraries import told

ROOT = Path(__file__).parents[2]


def measured(earned: list[float], truths: list[float]) -> Measured:
    return Measured(4, 0.0, (), None, earned, truths, None, "")


def test_a_policy_is_above_the_floor_where_the_paired_interval_is() -> None:
    mean, low, high = _above([1.0, 1.0, 0.0, 1.0], [0.0] * 4)
    assert mean == 0.75
    assert low == pytest.approx(0.75 - 3.1824463 * 0.25)  # t of 3 degrees, s / sqrt(n) = 0.5 / 2
    assert high == pytest.approx(0.75 + 3.1824463 * 0.25)
    assert _above([0.5] * 4, [0.5] * 4) == (0.0, 0.0, 0.0)


def test_correlation_has_fishers_interval_and_is_none_where_nothing_varies() -> None:
    found = measured([0, 1, 0, 1, 1, 0, 1, 1], [0, 1, 0, 1, 0, 0, 1, 1]).correlation
    assert found is not None
    r, low, high = found
    assert r == pytest.approx(0.7745966692)
    assert low == pytest.approx(math.tanh(math.atanh(r) - 1.959963985 / math.sqrt(5)))
    assert low < r < high
    assert measured([1.0] * 8, [0, 1] * 4).correlation is None
    assert measured([0, 1] * 4, [0.0] * 8).correlation is None


def test_an_observation_is_asked_as_text() -> None:
    assert text_of({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}) == "a\nb"
    assert text_of({"question": "Why?", "score": None}) == "Why?"
    assert json.loads(text_of({"board": [[0]]})) == {"board": [[0]]}


def test_the_graders_are_entry_points_of_openenvs_group() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert len(points["openenv.validation.graders"]) == 3
    assert all(v.startswith("loopkit_openenv.graders:") for v in points["openenv.validation.graders"].values())


@pytest.mark.nightly
def test_openenvs_registry_grades_a_served_loophole(tmp_path: Path) -> None:
    """Claiming to be right is paid unless it is audited: reward and truth do not go together; 60 CPU s."""
    write(plugins.load(), "self-grading", "openenv", tmp_path / "made", options={})
    found = told("LOOPKIT_OPENENV", "openenv", ROOT / "tests/openenv/graded.py", tmp_path / "made")
    assert found["schema"] == "valid"
    assert found["lane"] == "hub"
    by_id = {r["check_id"].partition(".")[2]: r for r in found["results"]}
    assert by_id.keys() == {"adversarial_floor", "gameability_gap", "training_signal"}
    assert by_id["adversarial_floor"]["measured"]["policies"] > 100
    assert by_id["gameability_gap"]["status"] == "fail"
    assert by_id["gameability_gap"]["measured"]["n"] > 1000
    assert by_id["training_signal"]["status"] == "skip"
    assert "LOOPKIT_GRADER_MODEL" in by_id["training_signal"]["evidence"][0]
