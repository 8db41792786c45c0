"""``loopkit new game`` writes a whole distribution, under any name that is one, and never over anything."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loopkit import check_game
from loopkit.errors import UsageError
from loopkit.new import KINDS, LONGEST, NAME, check_name, game_files, write
from loopkit.new import files as new_files
from loopkit.registry import plugins as registry
from tests.dists import loopkit
from tests.test_cli import call, one_paragraph  # noqa: F401

FILES = {
    ".gitignore", ".github/workflows/release.yml", ".github/workflows/test.yml", "LICENSE", "README.md",
    "pyproject.toml", "loopkit_my_game.py", "tests/test_loopkit_my_game.py",
}  # fmt: skip
NAMES = st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) <= LONGEST)


def test_a_distribution_holds_all_that_one_needs() -> None:
    files = game_files("my-game")
    assert set(files) == FILES
    assert not [path for path, text in files.items() if re.search(r"(?<!\$)\{\{|\{%", text) or not text.endswith("\n")]
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["name"] == "loopkit-my-game"
    assert project["project"]["entry-points"]["loopkit"] == {"my-game": "loopkit_my_game"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == ["loopkit_my_game.py"]
    assert files["README.md"].startswith("# loopkit-my-game\n")
    assert "pytest" in files[".github/workflows/test.yml"]
    assert len(files["loopkit_my_game.py"].splitlines()) <= 60


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_licence_author_bounds_and_a_release_without_a_token(kind: str) -> None:
    made = new_files(kind, f"my-{kind}", 'A. "B" Person <a@example.org>')
    project = tomllib.loads(made["pyproject.toml"])["project"]
    assert project["license"] == "MIT"
    assert project["authors"] == [{"name": 'A. "B" Person', "email": "a@example.org"}]
    assert 'A. "B" Person' in made["LICENSE"]
    assert "loopkit" in project["keywords"]
    assert re.fullmatch(r"loopkit-rl>=[\w.]+,<0\.\d+", project["dependencies"][0])
    assert "authors" not in tomllib.loads(new_files(kind, f"my-{kind}")["pyproject.toml"])["project"]
    flows = {name: yaml.safe_load(made[f".github/workflows/{name}.yml"]) for name in ("test", "release")}
    cores = flows["test"]["jobs"]["test"]["strategy"]["matrix"]["core"]
    assert len(cores) == 2
    assert cores[1].endswith(f"=={project['dependencies'][0].partition('>=')[2].partition(',')[0]}")
    assert flows["release"]["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert not re.search("password|(?<!id-)token:|secrets", made[".github/workflows/release.yml"])
    steps = [step.get("run", "") for step in flows["test"]["jobs"]["test"]["steps"]]
    assert any(step.startswith("loopkit check ") for step in steps)
    assert any(step.startswith("loopkit card ") for step in steps) == (kind in ("game", "channel", "detector"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["channel", "detector", "intervention"])
def test_what_is_begun_passes_its_own_tests_once_installed(kind: str, tmp_path: Path) -> None:
    """5 CPU s each; a trainer's take a minute, and are its protocol's, which tests/checks proves."""
    write(new_files(kind, f"my-{kind}"), tmp_path / "made")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path / "site", tmp_path / "made"], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "tests"],
        cwd=tmp_path / "made", env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'trainer'"):
        new_files("trainr", "x")


@given(NAMES)
def test_any_name_makes_a_game_of_that_name(name: str) -> None:
    files = game_files(name)
    module = f"loopkit_{name.replace('-', '_')}"
    tree = ast.parse(files[f"{module}.py"])
    (cls,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    imported = {a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert cls.name not in imported
    assert f'register("{name}", "{module}:{cls.name}")' in files[f"{module}.py"]
    assert f"from {module} import {cls.name}\n" in files[f"tests/test_{module}.py"]
    assert tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]["loopkit"] == {name: module}


def test_the_files_are_linted_and_formatted(tmp_path: Path) -> None:
    for name in ("my-game", "a", "x" * LONGEST):
        write(game_files(name), tmp_path / name)
    for kind in KINDS:
        write(new_files(kind, f"my-{kind}", "Ä. Person <a@example.org>"), tmp_path / f"a-{kind}")
    for command in (["check", "--select", "E,F,W"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "--isolated", "--line-length", "120", "."],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["none", "task"])
def test_the_game_is_proven_under_an_unlucky_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(game_files(name), tmp_path / name)
    monkeypatch.syspath_prepend(str(tmp_path / name))
    module = importlib.import_module(f"loopkit_{name}")
    cls = getattr(module, f"{name.capitalize()}Game")
    report = check_game(cls(cls.Options()), name=name, fuzz=100)
    del sys.modules[module.__name__]
    assert report.status == "proven", report.reasons


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("My Game", ("'My Game' is not a name for a game", "such as my-game.")),
        ("../escape", ("is not a name for a game", "such as escape.")),
        ("7up", ("is not a name for a game", "such as up.")),
        ("été", ("is not a name for a game", "such as t.")),
        ("", ("'' is not a name for a game", "beginning with a letter.")),
        ("a--b", ("is not a name for a game", "such as a-b.")),
        ("x" * (LONGEST + 1), ("is not a name for a game", f"such as {'x' * LONGEST}.")),
        ("self-grading", ("there is a game 'self-grading' already, of loopkit", "Choose another name")),
        ("grpo", ("there is a trainer 'grpo' already, of loopkit", "Choose another name")),
        ("tensorboard", ("a module loopkit_tensorboard is installed already", "Choose another name")),
    ],
)
def test_a_bad_name_is_refused_with_the_cure(call: Any, name: str, parts: tuple[str, ...]) -> None:  # noqa: F811
    one_paragraph(call("new", "game", "--", name), 2, *parts)
    assert not list(Path().iterdir())


@given(st.text(max_size=60))
def test_no_text_passes_that_is_no_name(name: str) -> None:
    try:
        check_name(name, registry.load())
    except UsageError:
        return
    assert name.isascii()
    assert name.replace("-", "a").isalnum()
    assert name[0].islower()
    assert len(name) <= LONGEST


def test_nothing_is_overwritten(call: Any) -> None:  # noqa: F811
    Path("loopkit-mine").mkdir()
    Path("file").write_text("kept")
    Path("link").symlink_to("nowhere")
    for out in ("loopkit-mine", "file", "link"):
        one_paragraph(call("new", "game", "mine", "--out", out), 2, f"{out} exists", "Choose another --out")
    one_paragraph(call("new", "game", "mine"), 2, "loopkit-mine exists")
    one_paragraph(call("new", "game", "mine", "--out", "no/such/place"), 2, "no/such is not a directory", "Make it")
    one_paragraph(
        call("new", "game", "mine", "--out", "/proc/mine"), 2, "/proc/mine cannot be written", "Choose another --out"
    )
    assert sorted(p.name for p in Path().rglob("*")) == ["file", "link", "loopkit-mine"]
    assert Path("file").read_text() == "kept"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write({"one": "text", "two": "\ud800"}, tmp_path / "game")
    assert not list(tmp_path.iterdir())


def test_it_says_what_it_wrote_and_what_comes_next(call: Any) -> None:  # noqa: F811
    found = call("new", "game", "my-game")
    assert found.code == 0
    head, _, tail = found.out.partition("\n\nNext:\n")
    assert {line.strip() for line in head.splitlines()[1:]} == FILES
    assert tail.splitlines() == [
        "  pip install -e './loopkit-my-game[test]'", "  pytest loopkit-my-game", "  loopkit run --game my-game",
    ]  # fmt: skip
    assert {p.relative_to("loopkit-my-game").as_posix() for p in Path().rglob("*") if p.is_file()} == FILES
    told = json.loads(call("new", "game", "my-game", "--out", "it's", "--json").out)
    assert set(told["files"]) == FILES
    assert told["out"] == "it's"
    assert told["next"][1] == """pytest 'it'"'"'s'"""


def test_help_has_examples_and_the_next_commands(call: Any) -> None:  # noqa: F811
    text = call("new", "game", "--help").out
    assert "loopkit new game compare" in text
    assert "loopkit run --game compare" in text
    assert "--arms loophole,control,doubting" in call("new", "channel", "--help").out


def test_the_installed_command_finds_its_template(tmp_path: Path) -> None:
    done = loopkit("new", "game", "my-game", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "loopkit-my-game/loopkit_my_game.py").read_text() == game_files("my-game")["loopkit_my_game.py"]
