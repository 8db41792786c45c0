"""Published tables are what their raw records give. About 6 CPU seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import loopkit
from loopkit.errors import UsageError
from tools import published

RECORDS = sorted((Path(__file__).parents[1] / "results").glob("*.json"))


def test_every_page_is_as_its_records_say() -> None:
    shown = [name for page in published.pages() for _, name, *_ in published.SHOWN.findall(page.read_text())]
    assert {path.name for path in RECORDS} == {Path(name).name for name in shown}
    for page in published.pages():
        text = page.read_text(encoding="utf-8")
        assert published.rebuilt(text) == text, f"{page}: python -m tools.published --write"


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: p.stem)
def test_a_record_names_commit_seeds_and_whether_it_was_registered(path: Path) -> None:
    kept = json.loads(path.read_text())
    assert kept["registration"]["status"] in ("registered", "exploratory")
    assert kept["seeds"] == kept["results"]["seeds"]
    assert kept["command"].startswith("loopkit ")
    assert all(len(commit.removesuffix("+dirty")) == 40 for commit in kept["commits"])
    assert path.stat().st_size < 300_000


def test_a_block_that_departs_from_its_record_is_made_again() -> None:
    name = f"results/{RECORDS[0].name}"
    page = f"<!-- {name} -->\n\n```text\nedited\n```\n"
    again = published.rebuilt(page)
    assert "edited" not in again
    assert published.printed(name) in again


def test_of_an_experiment_that_goes_on_the_whole_seeds_are_kept_and_the_others_named(tmp_path: Path) -> None:
    small = {"run.steps": 1, "run.prompts_per_step": 4, "run.group_size": 2, "run.eval_prompts": 8}
    loopkit.run("self-grading", seeds=2, arms=["loophole"], out=tmp_path / "runs", options=small)
    whole = published.record(tmp_path / "runs", "loopkit run")
    assert "missing_seeds" not in whole
    (tmp_path / "runs" / "results.json").unlink()
    shutil.rmtree(tmp_path / "runs" / "loophole-s0")
    kept = published.record(tmp_path / "runs", "loopkit run")
    assert (kept["seeds"], kept["missing_seeds"]) == ([1], [0])
    shutil.rmtree(tmp_path / "runs" / "base-s1")
    with pytest.raises(UsageError, match="no seed"):
        published.record(tmp_path / "runs", "loopkit run")
