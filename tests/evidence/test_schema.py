"""``results.json`` of earlier versions, and what is written now, read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopkit.errors import RunError
from loopkit.evidence import schema, tables, write
from loopkit.evidence.schema import ExperimentResults, StudyResults
from loopkit.front.outcome import Result
from loopkit.system.files import to_json

TESTS = Path(__file__).parents[1]
OLD = TESTS / "data/results-0.1.json"
"""What 0.1 wrote of README's main line."""


def of_01() -> ExperimentResults:
    results = schema.read(OLD)
    assert isinstance(results, ExperimentResults)
    return results


def test_an_experiment_of_0_1_is_read_with_its_own_sentence_and_tests() -> None:
    results, kept = of_01(), json.loads(OLD.read_text())
    assert results.verdict is not None
    assert (results.verdict.name, results.verdict.sentence) == ("blind spot", kept["verdict"]["sentence"])
    tests = kept["verdict"]["components"]
    assert {name: test.p for name, test in results.verdict.components.items()} == {k: t["p"] for k, t in tests.items()}
    assert all(test.shown == (tests[name]["p"] <= 0.05) for name, test in results.verdict.components.items())
    assert results.mitigations["control"].name == "closes"
    assert results.arm_names == ["base", "loophole", "control"]
    assert [run.discovery and run.discovery.onset for run in results.of("loophole")] == [20, 19, 17]
    assert results.mean("loophole", "compliance-gap").value == kept["arms"]["loophole"]["compliance-gap"]["value"]


def test_an_experiment_of_0_1_prints_and_is_written_in_the_new_version(tmp_path: Path) -> None:
    text = Result(tmp_path, of_01()).text()
    assert "79.3 (+75.7)" in text
    assert "3 of 3 (at step 20, 19, 17)" in text
    write.all_of(of_01(), tmp_path)
    assert json.loads((tmp_path / "results.json").read_bytes())["schema_version"] == schema.VERSION
    assert schema.read(tmp_path / "results.json").model_dump() == of_01().model_dump()
    assert "main,table,game=context-compliance; arm=loophole,exploit,," in (tmp_path / "results.csv").read_text()
    assert "\\toprule" in (tmp_path / "table.tex").read_text()


def test_an_experiment_of_0_2_while_it_was_made_is_read() -> None:
    record = json.loads((TESTS.parent / "results/readme-context-compliance.json").read_text())["results"]
    results = schema.parse({**record, "schema_version": 1})
    assert isinstance(results, ExperimentResults)
    assert results.verdict is not None
    assert results.verdict.margins is not None
    assert results.exploit is not None


def test_a_study_of_0_1_is_read() -> None:
    file = TESTS / "report/study.json"
    assert json.loads(file.read_text())["schema_version"] == 1
    results = schema.read(file)
    assert isinstance(results, StudyResults)
    assert tables.sections(results) == list(results.sections)


@pytest.mark.parametrize("change", [{"schema_version": 3}, {"kind": "novel"}, {"game": 3}, {"verdict": {"name": 1}}])
def test_what_is_no_results_is_refused_by_file_and_place(change: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(to_json(of_01().model_dump(mode="json") | change))
    with pytest.raises(RunError, match=r"results\.json cannot be read \(.*(schema version|novel|game|verdict)"):
        schema.read(file)


def test_the_main_table_is_one_for_print_csv_and_latex() -> None:
    results = of_01()
    (main,) = (s for s in tables.sections(results) if s.name == "main")
    row = next(row for row in main.rows if row.keys["arm"] == "loophole")
    value = f"{100 * row.cells['exploit'].value:.1f}"
    assert value in Result(Path("out"), results).table().text()
    assert value in write.to_latex(results)
    assert str(row.cells["exploit"].value) in write.to_csv(results)
