"""Shell completion: what is offered where, by click's own machinery; and once by a real bash on a real terminal."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import get_completion_class

from loopkit.cli import cli, complete
from tests.dists import environment, hook, install, loopkit, on_path
from tests.test_public import loaded

GAMES = ["context-compliance", "proxy-metric", "reward-tampering", "self-grading"]


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
        (["list", "--from", "loop"], ["loopkit"]),
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
def test_the_script_is_clicks_own(shell: str) -> None:
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
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {**environment(), "PATH": path, "PS1": "$ ", "TERM": "dumb", "HISTFILE": ""}
    terminal, inner = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-i"], stdin=inner, stdout=inner, stderr=inner, env=own, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    try:
        _type(terminal, "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; echo rea'dy'\n", "ready")
        _type(terminal, "eval \"$(loopkit completion bash)\"; echo comp'lete'\n", "complete\r\n")
        _type(terminal, "loopkit run --game self\t", "--game self-grading ")
        _type(terminal, "--trainer openrlhf:pp\t", "--trainer openrlhf:ppo ")
        _type(terminal, "--arms loophole,au\t", "--arms loophole,audit ")
        _type(terminal, "--model=ti\t", "--model=tiny ")
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)


def _type(terminal: int, keys: str, expected: str, seconds: float = 90) -> None:
    os.write(terminal, keys.encode())
    seen, until = "", time.monotonic() + seconds
    while expected not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"{expected!r} is not in {seen!r}"
        seen += os.read(terminal, 4096).decode(errors="replace")
