"""The schema of a study's results: what is written is read back, and no number goes without interval or reason."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from loopkit.errors import RunError
from loopkit.evidence import claims, schema, sections
from loopkit.evidence.sections import Cell
from loopkit.records import Estimate
from loopkit.system.files import to_json
from tests.studies.examples import estimate, study

DOCS = Path(__file__).parents[2] / "docs" / "results.md"


def test_results_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(to_json(study().model_dump(mode="json")))
    assert schema.read(file) == study()


def test_a_cell_of_an_estimate() -> None:
    found = Cell.of(estimate(0.5), "cluster")
    assert (found.value, found.low, found.high, found.n, found.withheld) == (0.5, 0.4, 0.6, 100, None)
    none = Cell.of(Estimate(0.5, None, None, 1, 1, "withheld: one seed"), "seed")
    assert (none.value, none.low, none.withheld) == (0.5, None, "one seed")
    assert Cell.of(None, "seed", why="no control").withheld == "no control"


@pytest.mark.parametrize("cell", [{"value": None}, {"value": 0.5}, {"value": 0.5, "low": 0.1, "withheld": ""}])
def test_a_number_without_interval_or_reason_is_refused(cell: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="withheld"):
        Cell.model_validate(cell)


@pytest.mark.parametrize("change", [{"schema_version": 3}, {"sections": [{"kind": "pie"}]}, {"extra": 1}])
def test_another_schema_is_refused_by_file_and_place(change: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(study().model_dump(mode="json") | change))
    with pytest.raises(RunError, match=r"results\.json cannot be read \(.*Run the same command again"):
        schema.read(file)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        schema.read(file)


MODELS = [
    schema.StudyResults, schema.ExperimentResults, schema.Made, schema.RunEntry, schema.Run, claims.Exploit,
    claims.Said, claims.Reply, claims.OnLoophole, claims.OnFix, claims.OnReward, claims.Test,
    sections.Cell, sections.SeedValue, sections.Column, sections.Row, sections.Table, sections.Matrix,
    sections.Curve, sections.Onsets, sections.Group,
    sections.VerdictRow,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_every_key_is_documented(model: type[sections.Part]) -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert not [key for key in model.model_fields if not re.search(rf"`{key}`", text)]
