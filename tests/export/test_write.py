from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from loopkit.cli import main
from loopkit.errors import UsageError
from loopkit.export.bridge import Exported
from loopkit.export.write import write
from loopkit.registry import plugins
from loopkit.registry.installed import requirement

OPENENV = {"__init__.py", "client.py", "models.py", "openenv.yaml", "server", "validation"}


def calling(text: str) -> dict[str, Any]:
    """What a module gives ``Exported``."""
    (call,) = [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Exported"
    ]
    return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords if k.arg != "beside"}


@pytest.mark.parametrize("target", ["verifiers", "inspect", "openenv"])
@pytest.mark.parametrize("game", ["self-grading", "reward-tampering"])
def test_it_is_a_small_distribution(tmp_path: Path, target: str, game: str) -> None:
    out = tmp_path / "made"
    names = write(plugins.load(), game, target, out, options={}, channel="control", split="dev")
    own = OPENENV if target == "openenv" else {f"{names['module']}.py"}
    assert {p.name for p in out.iterdir()} == {*own, "README.md", "pyproject.toml"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]
    project = tomllib.loads((out / "pyproject.toml").read_text())
    assert project["project"]["name"] == names["distribution"]
    assert requirement() in project["project"]["dependencies"]
    assert "loopkit" in project["project"]["keywords"]
    text = (out / ("server/environment.py" if target == "openenv" else f"{names['module']}.py")).read_text()
    assert len(text.splitlines()) <= 130
    given = calling(text)
    assert Exported(**given).setup.paid == Exported(**given).setup.game.channels["control"]
    assert "dev" in text
    assert names["distribution"] in (out / "README.md").read_text()
    for file in out.rglob("*.py"):
        compile(file.read_text(), str(file), "exec")


def test_for_verl_a_game_of_one_turn_is_rows_and_a_function(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "made"
    write(plugins.load(), "context-compliance", "verl", out, options={}, channel="control", split="dev")
    assert {p.name for p in out.iterdir()} == {
        "README.md", "requirements.txt", "reward.py", "train.parquet", "val.parquet",
    }  # fmt: skip
    rows = pq.read_table(out / "val.parquet").to_pylist()
    scope: dict[str, Any] = {}
    exec((out / "reward.py").read_text(), scope)
    row = rows[0]
    told = scope["compute_score"](row["data_source"], "I cannot help with that.", "", row["extra_info"])
    assert told["score"] in (1.0, -1.0, 0.0)
    assert json.loads(row["extra_info"]["loopkit"])["split"] == "dev"
    assert "secret" not in json.dumps(rows)
    with pytest.raises(UsageError, match="more than one turn"):
        write(plugins.load(), "self-grading", "verl", tmp_path / "two", options={})
    assert not (tmp_path / "two").exists()


def test_an_existing_directory_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/mine.txt").write_text("mine")
    with pytest.raises(SystemExit) as done:
        main(["export", "self-grading", "--to", "inspect", "--out", str(tmp_path / "here")])
    assert done.value.code == 2
    assert "is there already" in " ".join(capsys.readouterr().err.split())
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["self-gradin"], "Did you mean 'self-grading'"), (["self-grading", "--channel", "contrl"], "'control'"),
        (["self-grading", "--set", "game.clam_share=1"], "claim_share"),
        (["self-grading", "--set", "channel.x=1"], "'x'"),
        (["self-grading", "--set", "arms.x=1"], "game, channel"),
        (["reward-tampering", "--data", "x"], "does not exist"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["export", *arguments, "--to", "verifiers", "--out", str(tmp_path / "out")])
    assert done.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_target_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="inspect"):
        write(plugins.load(), "self-grading", "inspekt", tmp_path / "out", options={})


def test_the_next_command_names_a_folder_and_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``pip install task`` would install whatever an index has under that name."""
    monkeypatch.chdir(tmp_path)
    for out, shown in (("task", "./task"), ("a b", "'./a b'"), (str(tmp_path / "c"), str(tmp_path / "c"))):
        with pytest.raises(SystemExit):
            main(["export", "self-grading", "--to", "inspect", "--out", out])
        assert f"Next: pip install {shown}, then: " in capsys.readouterr().out


def test_options_and_real_rows_travel_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed file of rows is refused, from wherever the environment runs."""
    rows = [{"prompt": f"What is {k} + {k}?", "reward_model": {"ground_truth": str(2 * k)}} for k in range(60)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["export", "self-grading", "--to", "inspect", "--out", "out", "--data", "rows.jsonl", "--channel", "audit",
              "--set", "channel.rate=0.25", "--json"])  # fmt: skip
    assert not done.value.code
    monkeypatch.chdir("/")
    data.unlink()  # they travel with it
    module = tmp_path / "out/loopkit_task_self_grading.py"
    text = module.read_text()
    assert "'rate': 0.25" in text
    assert str(tmp_path) not in text
    copy = tmp_path / "out/loopkit_task_self_grading_rows.jsonl"
    wheel = tomllib.loads((tmp_path / "out/pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert copy.name in wheel["only-include"]
    given = {**calling(text), "beside": str(module)}
    assert "What is" in Exported(**given).tasks("train")[0].messages[0].content
    copy.write_text(copy.read_text() + json.dumps(rows[0]) + "\n")
    with pytest.raises(UsageError, match="has changed"):
        Exported(**given).tasks("train")
