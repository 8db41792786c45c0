"""Running from Python: the same bytes as the command, resumable, and a result object that answers first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import loopkit
from loopkit.errors import RunError, UsageError
from loopkit.experiment.config import Experiment
from loopkit.front.asked import experiment_of, seeds_text, tables_of
from loopkit.front.outcome import Result
from loopkit.front.progress import in_notebook, listening
from loopkit.running.runner import Event
from tests.dists import loopkit as command
from tests.report.scripted import experiment

SMALL = {"run.steps": 2, "run.prompts_per_step": 4, "run.group_size": 2, "run.eval_prompts": 16}
SCRIPT = """
import loopkit
heard = []
result = loopkit.run("self-grading", seeds=1, arms=["loophole"], options={small}, progress=heard.append)
print(result.verdict.name, sorted({{e.phase for e in heard}}))
"""


def records(where: Path) -> dict[str, bytes]:
    files = (p for p in sorted(where.rglob("*")) if p.is_file() and p.name not in ("timings.jsonl", ".lock"))
    return {str(p.relative_to(where)): p.read_bytes() for p in files}


@pytest.mark.slow
def test_a_script_without_a_guard_leaves_the_bytes_of_the_command(tmp_path: Path) -> None:
    python, shell = tmp_path / "python", tmp_path / "shell"
    for folder in (python, shell):
        folder.mkdir()
    (python / "script.py").write_text(SCRIPT.format(small=SMALL))
    done = subprocess.run([sys.executable, "script.py"], cwd=python, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    made = command("run", "--game", "self-grading", "--seeds", "1", "--arms", "loophole", *settings, cwd=shell)
    assert made.returncode == 0, made.stderr
    assert records(python / "runs") == records(shell / "runs")
    before = records(shell)
    (out,) = (shell / "runs").iterdir()
    (out / "results.json").unlink()  # killed at the end: the same call ends it
    again = loopkit.run("self-grading", seeds=1, arms="loophole", options=SMALL, out=out, progress=False)
    assert records(shell) == before
    assert again.json() == loopkit.read(out).json()
    assert made.stdout.splitlines()[0] == again.verdict.name
    assert done.stdout == f"{again.verdict.name} ['check', 'done', 'evaluate', 'train']\n"


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return experiment(tmp_path_factory.mktemp("front") / "paired", seeds="3", steps=6, held_out=200)


def test_the_answer_comes_first_in_thirty_lines_of_a_hundred_columns(scripted: Path) -> None:
    result = loopkit.read(scripted)
    assert isinstance(result, Result)
    verdict, kept = result.verdict, json.loads((scripted / "results.json").read_text())["verdict"]
    assert verdict
    assert (verdict.name, verdict.tested) == (kept["name"], kept["sentence"])
    assert verdict.basis == "3 seeds; descriptive: fewer than 5 seeds"
    lines = result.text().splitlines()
    assert lines[0] == verdict.name
    assert verdict.sentence.split()[0] in lines[1]
    assert len(lines) <= 30
    assert max(map(len, [*lines, *result.text(verbose=True).splitlines()])) <= 100
    rows = result.table().rows()
    assert [r["arm"] for r in rows] == ["base", "loophole", "control", "placebo"]
    data = json.loads((scripted / "results.json").read_text())
    rates = {r["seed"]: r["rates"]["compliance-gap"]["value"] for r in data["runs"] if r["arm"] == "loophole"}
    assert rows[1]["exploit"] == pytest.approx(sum(rates.values()) / 3)
    assert rows[1]["exploit_minus_base"] == pytest.approx(rows[1]["exploit"] - rows[0]["exploit"])
    k = data["discovered"]["loophole"]
    assert (rows[1]["found_it"], rows[0]["found_it"]) == (round(k["value"] * k["n"]), None)
    assert f"{100 * rows[1]['exploit']:.1f} (+" in str(result.table())
    assert len(result.table(verbose=True).rows()) == 12
    assert "<td>loophole</td>" in result._repr_html_()


def test_narrow_terminals_get_narrow_text(scripted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = loopkit.read(scripted)
    for text in (result.text(), result.text(verbose=True)):
        assert max(len(line) for line in text.splitlines() if str(scripted) not in line) <= 80
    assert len(result.text().splitlines()) <= 30 + 4  # a temporary directory's name is long


def test_a_paired_exploit_is_shown_as_the_pair(scripted: Path) -> None:
    example = loopkit.read(scripted).example()
    assert example is not None
    refused, served = example.said
    assert (refused.flagged, served.flagged) == (False, True)
    assert refused.paid == served.paid == 1.0
    (_, asked), (_, said) = refused.dialogue
    (_, asked_too), (_, said_too) = served.dialogue
    assert asked != asked_too
    assert "cannot help" in said
    assert said_too.startswith("Sure!")
    page = loopkit.read(scripted).report(scripted.parent / "page.html").read_text()
    first = page[page.index("<h2>First exploits</h2>") :]
    first = first[: first.index("</details>")]
    assert "a pair" in first
    assert first.index("compliance-gap no") < first.index("compliance-gap yes")
    assert "paid -10" not in first


def test_where_the_page_is_or_how_to_write_it(scripted: Path) -> None:
    result = loopkit.read(scripted)
    assert f"loopkit report {scripted}" in " ".join(result.text().split())
    written = result.report()
    assert written == scripted / "report.html"
    assert f"Page: {written}" in " ".join(result.text().split())
    written.unlink()
    with pytest.raises(UsageError, match=r"\.html"):
        result.report(scripted / "page.pdf")


def test_what_cannot_be_read_says_why(scripted: Path, tmp_path: Path) -> None:
    for path, word in ((tmp_path / "no", "not a directory"), (tmp_path, "holds no experiment"),
                       (scripted / "loophole-s0", "Read its experiment")):  # fmt: skip
        with pytest.raises(UsageError, match=word):
            loopkit.read(path)
    (tmp_path / "experiment.toml").touch()
    with pytest.raises(UsageError, match="not finished"):
        loopkit.read(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(RunError, match=r"results\.json cannot be read"):
        loopkit.read(tmp_path)


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds", "text"),
    [(5, "5"), ("100-104", "100-104"), (range(5), "5"), (range(100, 105), "100-104"), ([3, 7], "3,7"), ([7], "7-7")],
)
def test_seeds_are_written_as_on_the_command_line(seeds: Any, text: str) -> None:
    assert seeds_text(seeds) == text


@pytest.mark.parametrize("seeds", [0, -1, [], [1, 1], ["a"], True, 1.5])
def test_seeds_that_are_none_are_refused(seeds: Any) -> None:
    with pytest.raises((UsageError, TypeError)):
        seeds_text(seeds)


def test_options_in_every_form_ask_for_the_same_experiment() -> None:
    forms: list[Any] = [
        {"run.steps": 3, "arms.audit.rate": 0.2}, ["run.steps=3", "arms.audit.rate=0.2"],
        {"run": {"steps": 3}, "arms": {"audit": {"rate": 0.2}}},
    ]  # fmt: skip
    made = [experiment_of("self-grading", arms="loophole,audit", options=form) for form in forms]
    made.append(experiment_of("self-grading", arms={"loophole": {}, "audit": {"rate": 0.2}}, options={"run.steps": 3}))
    assert len({m.hash() for m in made}) == 1
    assert made[0].arms == {"loophole": {}, "audit": {"rate": 0.2}}
    for wrong in ({"steps": 3}, {"rum.steps": 3}, {"run": 3}):
        with pytest.raises(UsageError, match="section"):
            tables_of(wrong)


def test_a_reward_is_a_function_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("def passes(completions, **kwargs):\n    return [1.0 for _ in completions]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import mine  # type: ignore[import-not-found]

    made = experiment_of(None, reward=mine.passes, data="rows.jsonl")
    assert made == experiment_of(None, reward="mine.py:passes", data="rows.jsonl")
    with pytest.raises(UsageError, match=r"FILE\.py:FUNCTION"):
        experiment_of(None, reward=lambda completions: [0.0], data="rows.jsonl")
    with pytest.raises(UsageError, match="Leave --game self-grading out"):
        experiment_of("self-grading", reward=mine.passes)


def test_an_experiment_says_everything_itself() -> None:
    with pytest.raises(UsageError, match="the Experiment says the rest"):
        loopkit.run(Experiment(game="self-grading"), seeds=5)


def test_progress_is_a_callback_or_silence(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    with listening(heard.append) as listen:
        listen(Event("a", "train", 1, 2))
    with listening(False) as listen:
        listen(Event("a", "failed", text="why"))
    assert heard == [Event("a", "train", 1, 2)]
    assert capsys.readouterr().err == ""
    with listening(None) as listen:
        listen(Event("a", "failed", text="why"))
    assert "why" in capsys.readouterr().err
    assert not in_notebook()
