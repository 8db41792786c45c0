"""A plan is written once, before the first run; what departs from it is listed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loopkit.errors import RunError, UsageError
from loopkit.experiment.config import Experiment, RunSpec
from loopkit.experiment.registration import FILE, digest, mark, read, register, stamp, told
from loopkit.experiment.resolve import resolve
from loopkit.experiment.rundir import RunDir
from loopkit.registry import plugins

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


def asked(seeds: str = "2", **run: Any) -> tuple[Experiment, list[RunSpec]]:
    made = Experiment(game="self-grading", seeds=seeds, arms={"loophole": {}}, run={"steps": 3, **run})
    return made, resolve(made, plugins.load())


def ran(out: Path, experiment: Experiment, specs: list[RunSpec]) -> dict[str, Any]:
    """The runs' manifests as ``run_one`` writes them, and what results say."""
    for spec in specs:
        RunDir(out / spec.name).begin(spec, {"git": None, **mark(out)})
    return stamp(out, experiment.model_dump(mode="json"), specs)


def test_a_plan_that_is_kept_has_no_deviation(tmp_path: Path) -> None:
    experiment, specs = asked()
    made = register(tmp_path, experiment, specs, "the exploit rises", NOW)
    assert (made.at, made.hash) == ("2026-11-30T12:00:00Z", digest(made.plan))
    found = ran(tmp_path, experiment, specs)
    assert found["status"] == "registered"
    assert (found["hash"], found["note"], found["deviations"]) == (made.hash, "the exploit rises", [])
    assert made.hash[:12] in told(found)
    assert "no deviation" in told(found)


def test_without_a_plan_results_are_exploratory(tmp_path: Path) -> None:
    found = ran(tmp_path, *asked())
    assert found == {"status": "exploratory"}
    assert told(found).startswith("Exploratory")


@pytest.mark.parametrize(
    ("change", "word"), [({"seeds": "3"}, "seeds: '2' was registered, '3' was run"), ({"steps": 4}, "run.steps: 3")]
)
def test_other_options_are_deviations(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    register(tmp_path, *asked(), "", NOW)
    found = ran(tmp_path, *asked(**change))
    assert found["status"] == "registered"
    assert any(word in text for text in found["deviations"])


def test_an_edited_plan_and_one_laid_in_later_are_found_out(tmp_path: Path) -> None:
    experiment, specs = asked()
    register(tmp_path / "edited", experiment, specs, "", NOW)
    file = tmp_path / "edited" / FILE
    data = json.loads(file.read_text())
    data["plan"]["note"] = "what came out"
    file.write_text(json.dumps(data))
    assert any("edited" in text for text in ran(tmp_path / "edited", experiment, specs)["deviations"])

    ran(tmp_path / "late", experiment, specs)
    register(tmp_path / "elsewhere", experiment, specs, "", NOW)
    (tmp_path / "late" / FILE).write_bytes((tmp_path / "elsewhere" / FILE).read_bytes())
    found = stamp(tmp_path / "late", experiment.model_dump(mode="json"), specs)
    assert any("begun without this plan" in text and "loophole-s0" in text for text in found["deviations"])


def test_runs_made_with_other_code_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, specs = asked()
    register(tmp_path, experiment, specs, "", NOW)
    monkeypatch.setattr("loopkit.experiment.registration.code", lambda: "0" * 64)
    assert any("other code" in text for text in ran(tmp_path, experiment, specs)["deviations"])


def test_a_plan_is_registered_once_and_before_the_first_run(tmp_path: Path) -> None:
    experiment, specs = asked()
    first = register(tmp_path / "a", experiment, specs, "", NOW)
    later = datetime(2027, 1, 1, tzinfo=UTC)
    assert register(tmp_path / "a", experiment, specs, "", later) == first
    with pytest.raises(UsageError, match="registered once"):
        register(tmp_path / "a", *asked("3"), "", later)
    ran(tmp_path / "b", experiment, specs)
    with pytest.raises(UsageError, match=r"has runs already.*base-s0"):
        register(tmp_path / "b", experiment, specs, "", NOW)


@pytest.mark.parametrize("text", ["no json", "{}", '{"schema_version": 9}', '{"schema_version": 1, "plan": {}}'])
def test_a_file_that_is_no_plan_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(RunError, match=FILE):
        read(tmp_path)
