"""CSV, LaTeX and print of a study's results."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from loopkit.evidence import schema, write
from loopkit.evidence.sections import Cell, Column, SeedValue
from loopkit.front.studied import StudyResult
from loopkit.records import Estimate
from tests.studies.examples import study, verdicts

SHARE, POINTS = Column(key="x", title="x"), Column(key="x", title="x", kind="difference")


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(write.to_csv(study()))))


def test_csv_holds_every_number_over_seeds_and_by_seed() -> None:
    found = [r for r in rows() if r["section"] == "main" and r["keys"].endswith("arm=loophole")]
    assert {r["column"] for r in found} == {"task", "exploit", "discovered"}
    exploit = [r for r in found if r["column"] == "exploit"]
    assert [r["seed"] for r in exploit] == ["", "0", "1", "2"]
    assert [float(r["value"]) for r in exploit] == pytest.approx([0.85, 0.8, 0.9, 0.85])
    assert exploit[0]["withheld"] == "fewer than 5 seeds"
    assert exploit[1]["low"] == "0.78"
    assert {r["kind"] for r in rows()} == {"table", "matrix", "curve", "decay", "onsets", "verdicts"}


def test_csv_says_why_a_number_is_missing_and_which_onsets_are_censored() -> None:
    withheld = [r for r in rows() if r["keys"] == "game=a_game & co; arm=control" and r["column"] == "exploit"]
    assert [(r["value"], r["withheld"]) for r in withheld] == [("", "the game has no control channel")]
    alone = [r["value"] for r in rows() if r["column"] == "onset" and r["keys"] == "group=alone" and r["seed"]]
    assert alone == ["20.0", "", "31.0"]


def test_csv_cells_are_no_formulas() -> None:
    """A game's name may come from a stranger's plugin, and a spreadsheet runs what begins with =."""
    item = verdicts().items[0].model_copy(update={"name": '=HYPERLINK("x")', "keys": {}})
    made = study().model_copy(update={"sections": (verdicts().model_copy(update={"items": (item,), "name": "=1+1"}),)})
    first = next(csv.DictReader(io.StringIO(write.to_csv(made))))
    assert first["section"] == "'=1+1"
    assert first["column"] == 'p of =HYPERLINK("x")'


def test_latex_has_a_booktabs_table_of_each_table_and_matrix_and_escapes_names() -> None:
    text = write.to_latex(study())
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 2
    assert r"a\_game \& co" in text
    assert "a_game & co &" not in text
    assert r"85.0 (80.0 to 90.0)" in text


@pytest.mark.parametrize("name", [r"\input{/etc/passwd}", "100 % & $x_1^2$ #1 ~ {a}"])
def test_latex_of_a_hostile_name_runs_nothing(name: str) -> None:
    table = study().section("main")
    row = table.rows[0].model_copy(update={"keys": {"game": name, "arm": "base\n\\bye"}})
    hostile = table.model_copy(update={"rows": (row,), "title": "a\n\\bye"})
    text = write.to_latex(study().model_copy(update={"sections": (hostile,)}))
    assert name not in text
    assert all(line.startswith("%") for line in text.splitlines() if r"\bye" in line)


@pytest.mark.parametrize(
    ("cell", "column", "said"),
    [
        (Cell(value=0.812, low=0.758, high=0.866), SHARE, "81.2 [75.8, 86.6]"),
        (Cell(value=0.05, low=-0.01, high=0.11), POINTS, "+5.0 [-1.0, +11.0]"),
        (Cell(value=-0.0001, withheld="one seed"), POINTS, "+0.0 (one seed)"),
        (Cell(value=0.5, withheld="few", seeds=(SeedValue(seed=0, value=0.4), SeedValue(seed=1, value=0.6))), SHARE,
         "50.0 (40.0 to 60.0)"),
        (Cell(value=None, withheld="not trained"), SHARE, "(not trained)"),
        (Cell.of(Estimate(0.4, 0.053, 0.853, 5, 5, "clopper-pearson, 2 of 5 seeds"), "seed"), SHARE,
         "2 of 5 [5.3, 85.3]"),
        (Cell(value=12.0, withheld="few"), Column(key="s", title="s", kind="steps"), "12.0 (few)"),
        (Cell(value=-1.2345, withheld="few"), Column(key="r", title="r", kind="reward"), "-1.23 (few)"),
    ],
)  # fmt: skip
def test_words(cell: Cell, column: Column, said: str) -> None:
    assert write.words(cell, column) == said


def test_every_section_can_be_printed() -> None:
    for section in study().sections:
        headers, found = write.rows_of(section)
        assert found
        assert all(len(row) == len(headers) for row in found)


def test_files_are_written_once(tmp_path: Path) -> None:
    write.all_of(study(), tmp_path)
    assert schema.read(tmp_path / "results.json") == study()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    write.all_of(study(), tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_the_answer_first_and_with_verbose_every_section(tmp_path: Path) -> None:
    write.all_of(study(), tmp_path)
    result = StudyResult(tmp_path, study())
    assert (result.verdict.name, list(result.verdicts)) == ("blind spot", ["a_game & co"])
    brief, whole = result.text(), result.text(verbose=True)
    assert len(brief.splitlines()) <= 30
    assert max(map(len, [*brief.splitlines(), *whole.splitlines()])) <= 100
    assert brief.splitlines()[1] == "blind spot"
    assert "The exploit rate moved +75.0 points against base (3 seeds, p = 0.010)." in " ".join(brief.split())
    assert re.search(r"a_game & co +loophole +50.3 \(-0.7\) +85.0 \(\+74.7\) +2 of 3", brief)
    assert all(s.title in whole for s in study().sections if s.kind != "verdicts")
    assert "self-grading  █▇▁" in whole  # a dose curve, falling
    assert result.table("transfer").rows()[0]["one"] == pytest.approx(0.75)
    assert result.table().rows()[1]["exploit"] == pytest.approx(0.85)
