"""What a model said reaches the terminal as harmless text, in a few short lines."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from loopkit.checks import Report
from loopkit.cli import cli
from loopkit.evidence.results import collect
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import read_spec
from loopkit.front.outcome import Result
from loopkit.registry import plugins
from tests.report.scripted import experiment
from tests.report.test_browser import hostile


def test_hostile_rollouts_are_harmless_in_the_terminal(tmp_path: Path) -> None:
    out = experiment(tmp_path / "hostile", hostile, seeds="2", steps=4, held_out=60)
    specs = [read_spec(p.parent) for p in sorted(out.glob("*/run.toml"))]
    results = collect(specs, out, set_up(plugins.load(), specs[0]), Report("context-compliance", "proven", ()))
    made = CliRunner().invoke(cli, ["report", str(out), "--out", str(tmp_path / "report.html")])
    assert made.exit_code == 0, made.output
    result = Result(out, results)
    printed = "\n".join([result.text(), result.text(verbose=True), made.output])
    assert "exploit" in printed
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", printed)
    assert max(map(len, result.text(verbose=True).splitlines())) <= 100
