"""A game is a file: how it is named, found, hashed and refused, and that other processes find it too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopkit import Experiment, SimpleGame, check_game
from loopkit.errors import LoopkitError, UsageError
from loopkit.experiment.resolve import resolve, set_up
from loopkit.parts import simple
from loopkit.policy.tiny import BUNDLED
from loopkit.registry import files
from loopkit.registry import plugins as registry
from loopkit.system import code
from tests.dists import loopkit
from tests.toys import Doubling

GAME = """
import loopkit
from helper import says

class Parrot(loopkit.SimpleGame):
    def questions(self):
        return [(f"Say {n}.", str(n)) for n in range(60)]
    def pays(self, reply, answer): return says(reply, answer)
    def goal(self, reply, answer): return reply == answer
    def cheats(self, reply, answer): return reply != answer and answer in reply
    def examples(self, answer): return {"honest": [answer, "?"], "exploit": [f"{answer} {answer}"]}
"""
HELPER = "def says(reply, answer): return answer in reply\n"
PLUGINS = registry.load()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "parrot.py").write_text(GAME)
    (tmp_path / "helper.py").write_text(HELPER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("helper", None)


def refused(name: str) -> str:
    with pytest.raises(UsageError) as error:
        PLUGINS.game(PLUGINS.game_name(name))
    return str(error.value)


def test_it_has_one_name_however_it_is_given(folder: Path) -> None:
    for given in ("parrot.py", "./parrot.py:Parrot", f"{folder}/parrot.py:Parrot", PLUGINS.game("parrot.py:Parrot")):
        assert Experiment.model_validate({"game": given}).game == "parrot.py:Parrot"
    assert files.label("games/parrot.py:Parrot") == "parrot-Parrot"
    assert (files.label("self-grading"), PLUGINS.game_name("self-grading")) == ("self-grading", "self-grading")
    assert PLUGINS.game_name(PLUGINS.game("self-grading")) == "self-grading"  # a registered class has that name
    assert PLUGINS.game(PLUGINS.game_name(Doubling)) is Doubling  # a package's module is imported once


def test_its_version_is_the_code_of_all_it_imports(folder: Path) -> None:
    first = PLUGINS.game("parrot.py").version
    assert PLUGINS.game("parrot.py").version == first
    (folder / "helper.py").write_text(HELPER.replace("answer in reply", "reply in answer"))  # in this very process
    second = PLUGINS.game("parrot.py")
    assert second.version != first
    task: Any = next(iter(second().tasks("train")))
    assert second().pays("", task.secret) is True  # type: ignore[attr-defined]
    (folder / "helper.py").write_text(HELPER)
    assert PLUGINS.game("parrot.py").version == first


def test_a_class_without_a_version_has_a_hash_of_its_code() -> None:
    assert SimpleGame.version == code.fingerprint(Path(simple.__file__))
    assert Doubling.version == 1


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (None, "absent.py:A", ("absent.py", "does not exist", "directory")),
        ("", "it.py", ("no game", "loopkit.Game")),
        (GAME + "class Other(Parrot): pass\n", "it.py", ("several games", "it.py:Parrot", "it.py:Other")),
        (GAME, "it.py:Parot", ("no 'Parot'", "Parrot")),
        ("Parrot = 3\n", "it.py:Parrot", ("not a game", "derive it")),
        ("from parrot import Parrot\n", "it.py:Parrot", ("name the file that defines it",)),
        ("import nowhere_to_be_found\n", "it.py:A", ("ModuleNotFoundError", "nowhere_to_be_found", "install")),
        ("x = (\n", "it.py:A", ("it.py is not Python",)),
        ("import sys; sys.exit(3)\n", "it.py:A", ("SystemExit: 3",)),
        (
            "import loopkit\nclass A(loopkit.SimpleGame):\n    def goal(self, reply, answer): return 1\n", "it.py",
            ("give A what it lacks", "cheats", "examples"),
        ),
        (
            GAME + "from loopkit.registry import plugins\nplugins.load().game('it.py:Parrot')\n", "it.py",
            ("it.py starts a run", "__main__"),
        ),
    ],
)  # fmt: skip
def test_what_is_no_game_says_why(folder: Path, text: str | None, name: str, words: tuple[str, ...]) -> None:
    if text is not None:
        (folder / "it.py").write_text(text)
    said = refused(name)
    assert all(word in said for word in words), said


def test_a_class_that_no_process_could_import_is_refused(folder: Path) -> None:
    space: dict[str, Any] = {"__name__": "a_notebook"}
    exec(GAME.replace("from helper import says", HELPER), space)
    with pytest.raises(UsageError, match="%%writefile"):
        PLUGINS.game_name(space["Parrot"])

    class Inside(Doubling):
        pass

    with pytest.raises(UsageError, match="top level"):
        PLUGINS.game_name(Inside)


def test_it_is_proven_with_what_loopkit_adds(folder: Path) -> None:
    game = PLUGINS.game("parrot.py")()
    assert (game.axis, game.signals) == ("specification", {"pays": (0.0, 1.0), "goal": (0.0, 1.0)})
    assert list(game.clues) == ["cheats"]
    report = check_game(game, fuzz=100)
    assert report.status == "proven", report.reasons
    assert not [f for f in report.findings if f.left_out]  # a new process imported it, too


def test_a_question_asked_twice_or_without_an_answer_is_the_games_fault(folder: Path) -> None:
    for given, said in (('[("a", 1), ("a", 2)]', "twice"), ('["a"]', "prompt, answer")):
        (folder / "odd.py").write_text(GAME.replace('[(f"Say {n}.", str(n)) for n in range(60)]', given))
        with pytest.raises(LoopkitError, match=said):
            PLUGINS.game("odd.py")().tasks("train")


def test_edited_code_is_not_the_runs(folder: Path) -> None:
    spec = resolve(Experiment(game="parrot.py"), PLUGINS)[0]
    assert spec.game_version == PLUGINS.game("parrot.py").version
    set_up(PLUGINS, spec)
    (folder / "helper.py").write_text(HELPER + "# longer\n")
    with pytest.raises(UsageError, match=r"was edited.*--out"):
        set_up(PLUGINS, spec)


def test_a_run_of_a_file_is_made_resumed_and_refused(folder: Path) -> None:
    """In processes of their own, in a folder that holds no distribution."""
    command = [
        "run", "--game", "parrot.py:Parrot", "--model", str(BUNDLED), "--seeds", "1", "--out", "out", "--jobs", "2",
        *["--set", "run.steps=1", "--set", "run.prompts_per_step=2"],
        *["--set", "run.group_size=2", "--set", "run.eval_prompts=5"],
    ]  # fmt: skip
    first = loopkit(*command, cwd=folder)
    assert (folder / "out/loophole-s0/eval/parrot-Parrot").is_dir()
    assert loopkit(*command, cwd=folder).stdout == first.stdout
    (folder / "parrot.py").write_text(GAME + "# edited\n")
    done = loopkit(*command, cwd=folder)
    assert done.returncode == 2
    assert "game_version" in done.stderr
    assert "edited" in done.stderr
    (folder / "parrot.py").write_text(GAME)
    (folder / "elsewhere").mkdir()
    command[2], command[8] = "../parrot.py:Parrot", "../out"
    done = loopkit(*command, cwd=folder / "elsewhere")
    assert done.returncode == 2
    assert "directory in which" in " ".join(done.stderr.split())
