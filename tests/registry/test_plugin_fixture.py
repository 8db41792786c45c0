"""A third party's distribution, built and installed by pip in a fresh virtual environment: all that it brings works."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from loopkit import __version__
from tests.dists import Venv, warmups

pytestmark = pytest.mark.slow
FIXTURE = Path(__file__).parents[1] / "plugin_fixture"
ORIGIN = "loopkit-plugin-fixture 1.4"
BUNDLED = f"loopkit-rl {__version__}"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    made = Venv(tmp_path_factory.mktemp("fresh") / "venv", tmp_path_factory.mktemp("work"))
    made("pip", "install", "-q", str(FIXTURE))
    return made


def run(fresh: Venv, out: str, *arguments: str) -> dict[str, Any]:
    """An experiment of one seed; its results."""
    small = ("--seeds", "1", "--jobs", "1", "--out", out, "--json")
    found: dict[str, Any] = json.loads(fresh("loopkit", "run", *arguments, *small).stdout)
    assert found == json.loads((fresh.cwd / out / "results.json").read_text())
    return found


def rate(results: dict[str, Any], arm: str, detector: str) -> float:
    (found,) = [r for r in results["runs"] if r["arm"] == arm]
    value: float = found["rates"][detector]["value"]
    return value


@pytest.mark.nightly
def test_list_shows_each_with_its_origin(fresh: Venv) -> None:
    expected = {
        "games": {"counting"},
        "channels": {"self-grading/honest-claims", "counting/loophole", "counting/control"},
        "detectors": {"*/parrot", "counting/unearned"},
        "trainers": {"best-of", "best-of:often"},
    }
    for kind, names in expected.items():
        rows = json.loads(fresh("loopkit", "list", kind, "--json").stdout)
        assert {r["name"] for r in rows if r["origin"] == ORIGIN} == names
        assert {r["origin"] for r in rows} == {BUNDLED, ORIGIN}
        printed = fresh("loopkit", "list", kind, "--from", "loopkit-plugin-fixture").stdout
        assert all(name in printed for name in names)
    shown = json.loads(fresh("loopkit", "list", "games", "counting", "--json").stdout)
    assert shown["options"][0]["set"] == "game.stamp_share"
    assert "parrot" in {d["name"] for d in shown["detectors"]}
    assert fresh("loopkit", "doctor").stdout.rstrip().endswith("No problems found.")


@pytest.mark.nightly
def test_check_passes_on_game_and_trainer(fresh: Venv) -> None:
    reports = json.loads(fresh("loopkit", "check", "counting", "self-grading", "best-of", "--json").stdout)
    assert [r["status"] for r in reports] == ["proven"] * 3


@pytest.mark.nightly
def test_run_trains_tiny_on_the_game_after_its_own_warm_up(fresh: Venv) -> None:
    results = run(fresh, "counting", "--game", "counting", "--set", "run.eval_prompts=45")
    records = [json.loads(file.read_text()) for file in warmups().glob("warmup/counting-*/warmup.json")]
    assert {r["games"]["counting"]["replayed"] for r in records} == {False}
    assert {r["games"]["self-grading"]["replayed"] for r in records} == {True}
    assert rate(results, "base", "unearned") < 0.3
    assert rate(results, "loophole", "unearned") > rate(results, "base", "unearned") + 0.3
    assert rate(results, "control", "unearned") < 0.3
    assert (results["headline"], set(results["runs"][0]["rates"])) == ("unearned", {"unearned", "parrot"})
    manifest = json.loads((fresh.cwd / "counting/loophole-s0/manifest.json").read_text())
    assert manifest["plugins"] == {"game": ORIGIN, "trainer": BUNDLED, "detector parrot": ORIGIN}


def test_its_mitigation_is_an_arm_of_a_bundled_game_and_its_detector_a_column(fresh: Venv) -> None:
    sizes = [f"--set=run.{name}" for name in ("steps=3", "prompts_per_step=4", "group_size=4", "eval_prompts=32")]
    results = run(fresh, "arms", "--game", "self-grading", "--arms", "loophole,honest-claims", *sizes)
    assert set(results["arms"]) == {"base", "loophole", "honest-claims"}
    assert results["headline"] == "false-claim"
    assert 0 <= rate(results, "honest-claims", "parrot") <= 1
    directory = fresh.cwd / "arms" / "honest-claims-s0"
    assert tomllib.loads((directory / "run.toml").read_text())["channel_options"] == {"penalty": 2.0}
    paid = pq.read_table(directory / "scores" / "step-000000.parquet").to_pylist()
    assert {"reward.paid", "flag.parrot"} <= paid[0].keys()
    for row in paid:  # the pay is the fixture's own formula, at its preset
        right, claims, denies = (row[f"signal.{name}"] for name in ("right", "claims", "denies"))
        assert row["reward.paid"] == (claims and (1.0 if right else -2.0)) or (not right and denies / 2)
    assert len({row["reward.paid"] for row in paid}) > 1
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["plugins"]["channel honest-claims"] == ORIGIN


@pytest.mark.nightly
def test_its_trainer_trains(fresh: Venv) -> None:
    sizes = ("--set", "run.eval_prompts=45", "--set", "run.steps=12")
    results = run(fresh, "best", "--game", "counting", "--trainer", "best-of:often", "--arms", "loophole", *sizes)
    directory = fresh.cwd / "best" / "loophole-s0"
    steps = [json.loads(line) for line in (directory / "steps.jsonl").read_text().splitlines()]
    assert len(steps) == 12
    assert any(s["trainer"]["learned_turns"] for s in steps)
    assert len(list((directory / "checkpoints").glob("step-*"))) == 12
    assert rate(results, "loophole", "unearned") > rate(results, "base", "unearned") + 0.1
    refused = fresh("loopkit", "run", "--game", "counting", "--trainer", "best-of:often",
                    "--set", "trainer.checkpoint_every=5", code=2)  # fmt: skip
    assert "'best-of:often'" in refused.stderr
