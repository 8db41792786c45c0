"""An experiment whose game version (or data) has changed is refused, also where it is finished."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from loopkit.cli import cli
from loopkit.errors import UsageError
from loopkit.experiment.config import read_experiment
from loopkit.experiment.resolve import resolve
from loopkit.experiment.rundir import RunDir
from loopkit.front.directories import claim
from loopkit.registry import plugins as registry


def test_a_run_of_another_game_version_is_refused_before_anything_is_printed(tmp_path: Path) -> None:
    experiment = read_experiment(None, settings={}, arms=["loophole"], game="self-grading", seeds="1")
    specs = resolve(experiment, registry.load())
    claim(tmp_path, experiment)
    RunDir(tmp_path / specs[1].name).begin(specs[1].model_copy(update={"game_version": 7}), {})
    line = ["run", "--game", "self-grading", "--arms", "loophole", "--seeds", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(cli, line)
    assert isinstance(done.exception, UsageError)
    assert f"game_version: 7 there, {specs[1].game_version} now" in str(done.exception)
