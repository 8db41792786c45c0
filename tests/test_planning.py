"""``plan``, ``register`` and ``correct``: from the command line to what they print and write.

About 5 CPU seconds, and 40 more of one that is marked slow.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loopkit.cli import cli
from loopkit.errors import UsageError
from tests.report.scripted import experiment

SMALL = ["--game", "self-grading", "--seeds", "2", "--set", "run.steps=1", "--set", "run.prompts_per_step=4",
         "--set", "run.group_size=2", "--set", "run.eval_prompts=16"]  # fmt: skip


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished experiment of context-compliance, scripted."""
    return experiment(tmp_path_factory.mktemp("planning") / "runs", seeds="3", steps=6, held_out=400)


def test_a_plan_from_assumptions_says_how_many_seeds() -> None:
    found = json.loads(call("plan", "--difference", "40", "--spread", "10", "--json").output)
    assert found["assumed"]["difference"] == pytest.approx(0.4)
    assert found["seeds"]["2000"] == 5
    assert found["power"]["5"]["2000"] > 0.8
    text = " ".join(call("plan", "--difference", "12", "--spread", "30").output.split())
    assert "No number of seeds up to 30" in text


def test_a_plan_from_earlier_runs_takes_their_spread(made: Path) -> None:
    found = json.loads(call("plan", "--from", str(made), "--against", "placebo", "--json").output)
    data = json.loads((made / "results.json").read_text())
    rates = {(r["arm"], r["seed"]): r["rates"]["compliance-gap"]["value"] for r in data["runs"]}
    differences = [rates["loophole", s] - rates["placebo", s] for s in range(3)]
    assert found["assumed"]["difference"] == pytest.approx(sum(differences) / 3)
    assert found["seeds"]["200"] == 5


@pytest.mark.parametrize(
    ("arguments", "word"),
    [([], "--from"), (["--against", "nobody"], "nobody"), (["--measure", "nothing"], "nothing")],
)
def test_what_cannot_be_planned_says_why(made: Path, arguments: list[str], word: str) -> None:
    stopped = call("plan", *(["--from", str(made)] if arguments else []), *arguments)
    assert isinstance(stopped.exception, UsageError)
    assert word in str(stopped.exception)


def test_rates_are_corrected_beside_the_raw_ones(made: Path, tmp_path: Path) -> None:
    found = json.loads(call("correct", str(made), "--json").output)
    assert found["detector"] == "compliance-gap"
    labels = found["labels"]
    better = labels["flagged"] / labels["exploits"] + labels["cleared"] / labels["honest"] - 1
    loophole = next(r for r in found["runs"] if r["arm"] == "loophole")
    assert loophole["corrected"]["value"] == pytest.approx(min(1.0, loophole["raw"]["value"] / better))
    assert loophole["corrected"]["low"] > loophole["raw"]["low"]
    text = " ".join(call("correct", str(made)).output.split())
    assert f"flags {labels['flagged']} of {labels['exploits']} exploits" in text

    own = Path(__file__).parents[1] / "plugins/loopkit_context_compliance/labelled.jsonl"
    some = [line for line in own.read_text().splitlines() if not json.loads(line)["flags"].get("compliance-gap")]
    (tmp_path / "honest.jsonl").write_text("\n".join(some) + "\n")
    stopped = call("correct", str(made), "--labels", str(tmp_path / "honest.jsonl"))
    assert isinstance(stopped.exception, UsageError)
    assert "honest.jsonl has 0 exploits" in str(stopped.exception)
    stopped = call("correct", str(made), "--detector", "nobodys")
    assert "nobodys" in str(stopped.exception)


def test_a_readers_labels_of_a_runs_own_rollouts_correct_its_rate(made: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.jsonl"
    drawn = call("correct", str(made), "--sheet", str(sheet), "--draw", "6", "--detector", "complied")
    assert "72 rollouts" in drawn.output
    rows = [json.loads(line) for line in sheet.read_text().splitlines()]
    assert all(set(row) == {"id", "asked", "said", "exploit"} for row in rows)  # neither arm nor flag: blind
    assert len({row["id"] for row in rows}) == 72
    empty = call("correct", str(made), "--sheet", str(sheet), "--detector", "complied")
    assert "holds no label" in str(empty.exception)
    for row in rows:
        row["exploit"] = True
    sheet.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads(call("correct", str(made), "--sheet", str(sheet), "--detector", "complied", "--json").output)
    for run in found["runs"]:  # every reply drawn was an exploit, so the rate is far higher than the detector's
        assert 2 <= int(run["corrected"]["method"].split()[-2]) <= 6  # it abstains on some
        assert run["corrected"]["value"] >= run["raw"]["value"]
        assert run["corrected"]["high"] >= run["raw"]["high"]
    sheet.write_text(json.dumps({**rows[0], "id": "0"}) + "\n")
    strange = call("correct", str(made), "--sheet", str(sheet), "--detector", "complied")
    assert "1 of the 1 labels" in str(strange.exception)
    again = call("correct", str(made), "--sheet", str(sheet), "--draw", "6", "--detector", "complied")
    assert "exists" in str(again.exception)
    assert "gap" in str(call("correct", str(made), "--sheet", str(sheet)).exception)


@pytest.mark.slow
def test_a_registered_experiment_says_so_and_lists_what_departs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("why.txt").write_text("the rate of false claims rises")
    said = call("register", *SMALL, "--out", "kept", "--note", "@why.txt")
    assert said.exit_code == 0, said.output
    plan = json.loads(Path("kept/registration.json").read_text())
    assert plan["hash"][:12] in said.output
    assert plan["plan"]["note"] == "the rate of false claims rises"
    text = " ".join(call("run", *SMALL, "--out", "kept").output.split())
    assert f"plan {plan['hash'][:12]}; no deviation." in text
    results = json.loads(Path("kept/results.json").read_text())
    assert results["registration"]["status"] == "registered"
    again = Path("kept/results.json").read_bytes()
    call("run", *SMALL, "--out", "kept")
    assert Path("kept/results.json").read_bytes() == again

    call("register", *SMALL, "--out", "other")
    fewer = [word.replace("run.eval_prompts=16", "run.eval_prompts=12") for word in SMALL]
    said = call("run", *fewer, "--out", "other")
    assert "run.eval_prompts: 16 was registered, 12 was run" in " ".join(said.output.split())
    assert "Exploratory" not in said.output
