"""Shell completion: what is offered where, by click's own machinery; and once by each real shell that is installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import get_completion_class

from loopkit.cli import COMMANDS, cli, complete
from tests.dists import environment, hook, install, loopkit, on_path
from tests.test_public import loaded

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
GAMES = ["biased-judge", "context-compliance", "proxy-metric", "reward-tampering", "self-grading"]


def offered(*words: str) -> list[str]:
    """What is offered for the last word, which may be empty."""
    made: Any = get_completion_class("zsh")
    return [
        item.value for item in made(cli, {}, "loopkit", complete.VARIABLE).get_completions([*words[:-1]], words[-1])
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ru"], ["run"]),
        (["run", "--see"], ["--seeds"]),
        (["run", "--game", ""], GAMES),
        (["run", "--game", "self"], ["self-grading"]),
        (["run", "--trainer", "grp"], ["grpo"]),
        (["run", "--trainer", "openrlhf:gr"], ["openrlhf:grpo"]),
        (["run", "--arms", ""], ["loophole", "control", "placebo"]),
        (["run", "--game", "self-grading", "--arms", ""], ["loophole", "control", "audit", "placebo"]),
        (["run", "--game", "self-grading", "--arms", "loophole,a"], ["loophole,audit"]),
        (["run", "--game", "self-grading", "--arms", "loophole,"], [
            "loophole,control", "loophole,audit", "loophole,placebo",
        ]),
        (["run", "--game", "no-such-game", "--arms", ""], []),
        (["run", "--model", "tin"], ["tiny"]),
        (["study", "pers"], ["persistence"]),
        (["study", "paper", "--games", "self-grading,pro"], ["self-grading,proxy-metric"]),
        (["eval", "tiny", "--game", "rew"], ["reward-tampering"]),
        (["warmup", "--games", "con"], ["context-compliance"]),
        (["check", "self-grading", "grp"], ["grpo"]),
        (["doctor", "--trainer", "openrlh"], [
            "openrlhf", "openrlhf:dr-grpo", "openrlhf:grpo", "openrlhf:ppo", "openrlhf:reinforce++",
            "openrlhf:reinforce-baseline", "openrlhf:rloo",
        ]),
        (["list", "tra"], ["trainers"]),
        (["list", "trainers", "grp"], ["grpo"]),
        (["list", "settings", ""], []),
        (["list", "--from", "loop"], ["loopkit-rl"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
    ids=" ".join,
)  # fmt: skip
def test_names_are_offered_where_they_are_taken(words: list[str], expected: list[str]) -> None:
    found = offered(*words)
    assert [f for f in found if f in expected] == expected
    assert all(f.startswith(words[-1]) for f in found)
    if len(expected) == 1 or not expected or "," in words[-1] or words[-1] == "self":
        assert found == expected


def test_a_path_is_left_to_the_shell() -> None:
    made: Any = get_completion_class("bash")
    for words in (["run", "--model"], ["run", "--config"], ["eval"], ["report"]):
        (item,) = made(cli, {}, "loopkit", complete.VARIABLE).get_completions(words, "some/pa")
        assert item.type == "file"


def test_a_path_that_is_there_goes_before_the_name_of_a_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert offered("eval", "ru") == ["run"]
    (tmp_path / "runs").mkdir()
    assert offered("eval", "ru") == ["ru"]  # a path, for the shell to complete
    assert set(offered("eval", "")) == {"gguf", "openai", "run", "tiny"}


def test_a_command_is_offered_with_the_line_that_help_has() -> None:
    made: Any = get_completion_class("fish")
    found = made(cli, {}, "loopkit", complete.VARIABLE).get_completions([], "ru")
    assert [(item.value, item.help) for item in found] == [("run", COMMANDS["run"][1])]


def test_names_of_installed_plugins_are_offered_and_a_broken_one_breaks_nothing(tmp_path: Path) -> None:
    channel = hook("channels", "'self-grading/mended', 'mended:Mended'") + hook("trainers", "'grow', 'mended:Grow'")
    install(tmp_path, "mended", channel)
    install(tmp_path, "broken", "raise RuntimeError('not today')\n")
    with on_path(tmp_path):
        assert offered("run", "--game", "self-grading", "--arms", "loophole,m") == ["loophole,mended"]
        assert offered("run", "--trainer", "gro") == ["grow"]


@pytest.mark.parametrize(
    ("pieces", "before", "expected"),
    [
        (["loopkit", "run", "--trainer", "openrlhf", ":", "gr"], "openrlhf:", "plain,grpo"),
        (["loopkit", "run", "--trainer", "openrlhf", ":"], "openrlhf:", "plain,grpo"),
        (["loopkit", "run", "--trainer", "openrlhf:gr"], "", "plain,openrlhf:grpo"),  # COMP_WORDBREAKS without a colon
        (["loopkit", "run", "--trainer", "=", "grp"], "", "plain,grpo"),
        (["loopkit", "run", "--trainer", "=", "openrlhf", ":", "gr"], "openrlhf:", "plain,grpo"),
        (["loopkit", "run", "--game"], "", "plain,--game"),
    ],
)
def test_bash_splits_words_at_colons_and_equals(
    pieces: list[str], before: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_WORDS", "\n".join(pieces))
    monkeypatch.setenv("COMP_CWORD", str(len(pieces) - 1))
    made = complete.Bash(cli, {}, "loopkit", complete.VARIABLE)
    assert expected in made.complete().splitlines()
    assert made.before == before


@pytest.mark.parametrize("shell", complete.SHELLS)
def test_the_script_asks_for_its_shell(shell: str) -> None:
    done = loopkit("completion", shell)
    assert done.returncode == 0, done.stderr
    assert f"{complete.VARIABLE}={shell}_complete" in done.stdout


def test_an_unknown_shell_is_refused() -> None:
    done = loopkit("completion", "tcsh")
    assert done.returncode == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr


def test_completing_loads_nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that takes seconds, even where the channels of a game are asked for, which makes the game."""
    words = "loopkit run --game proxy-metric --arms loophole,c"
    monkeypatch.setenv("COMP_WORDS", words.replace(" ", "\n"))
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    monkeypatch.setenv(complete.VARIABLE, "bash_complete")
    code = "import loopkit.cli\ntry:\n    loopkit.cli.main([])\nexcept SystemExit as e:\n    assert not e.code"
    assert not loaded(code) & {"torch", "transformers", "tokenizers", "numpy", "scipy", "pyarrow", "matplotlib", "nltk"}


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_a_real_bash_completes(tmp_path: Path) -> None:
    """On a terminal of its own: names are typed in part, then Tab."""
    with terminal_of(["bash", "--noprofile", "--norc", "-i"], tmp_path) as terminal:
        _type(terminal, "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; echo rea'dy'\n", "ready")
        _type(terminal, "eval \"$(loopkit completion bash)\"; echo comp'lete'\n", "complete\r\n")
        _type(terminal, "loopkit run --game self\t", "--game self-grading ")
        _type(terminal, "--trainer openrlhf:pp\t", "--trainer openrlhf:ppo ")
        _type(terminal, "--arms loophole,au\t", "--arms loophole,audit ")
        _type(terminal, "--model=ti\t", "--model=tiny ")


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_a_real_zsh_completes(tmp_path: Path) -> None:
    keys = "zle -N show; show() { print -r -- \"<<$BUFFER>>\"; BUFFER= }; bindkey '^X' show"
    typed = {
        "loopkit run --game self": "--game self-grading ",
        "loopkit run --game=self": "--game=self-grading ",
        "loopkit run --arms=loophole,cont": "--arms=loophole,control ",
        "loopkit run --data=ro": "--data=rows.jsonl ",
        "loopkit run --trainer=openrlhf:pp": "--trainer=openrlhf:ppo ",
    }
    (tmp_path / "rows.jsonl").touch()
    with terminal_of(["zsh", "-f", "-i"], tmp_path) as terminal:
        _type(terminal, f"autoload -Uz compinit; compinit -u -D; {keys}; echo rea'dy'\n", "ready")
        _type(terminal, "eval \"$(loopkit completion zsh)\"; echo comp'lete'\n", "complete\r\n")
        for line, expected in typed.items():
            _type(terminal, f"{line}\t\x18", f"<<loopkit run {expected}>>")


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_a_real_fish_completes(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    script = loopkit("completion", "fish")
    typed = {
        "loopkit run --game self": ["self-grading"],
        "loopkit run --game=self": ["--game=self-grading"],
        "loopkit run --arms loophole,": ["loophole,control", "loophole,placebo"],
        "loopkit run --data ro": ["rows.jsonl"],
        "loopkit run --data=ro": ["--data=rows.jsonl"],
        "loopkit ru": [f"run\t{COMMANDS['run'][1]}"],
    }
    asked = "".join(f"complete -C '{line}'; echo =\n" for line in typed)
    own = {**environment(), "PATH": PATH, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["fish", "--no-config"], input=f"{script.stdout}\n{asked}", capture_output=True, text=True, env=own,
        cwd=tmp_path, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [part.split("\n")[:-1] for part in done.stdout.split("=\n")[:-1]]
    assert found == list(typed.values())


@contextmanager
def terminal_of(shell: list[str], folder: Path) -> Iterator[int]:
    """A shell on a terminal of its own, without its user's settings: the end to type at."""
    own = {**environment(), "PATH": PATH, "PS1": "$ ", "TERM": "dumb", "HISTFILE": ""}
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        shell, stdin=inner, stdout=inner, stderr=inner, env=own, cwd=folder, start_new_session=True
    )
    os.close(inner)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def _type(terminal: int, keys: str, expected: str, seconds: float = 90) -> None:
    os.write(terminal, keys.encode())
    seen, until = "", time.monotonic() + seconds
    while expected not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"{expected!r} is not in {seen!r}"
        seen += os.read(terminal, 4096).decode(errors="replace")
