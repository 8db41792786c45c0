"""The commands of the base, end to end on real files, where torch, transformers, nltk and sacrebleu are not there.

``tools/base`` runs these in an environment that has none of them. In any other they are hidden from the commands, which
are processes of their own, so that these tests are also among the fast ones.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chat_server import serving
from tests.report.scripted import experiment

pytestmark = pytest.mark.base
EXTRAS = ("torch", "transformers", "tokenizers", "safetensors", "nltk", "sacrebleu", "rouge_score")
LINUX = ("fcntl", "resource", "pwd", "grp", "termios")
HIDING = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

for name in {hidden!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
"""
Call = Callable[..., subprocess.CompletedProcess[str]]


def calls(folder: Path, hidden: tuple[str, ...]) -> Call:
    """The command in ``folder``, in a process that cannot import ``hidden``."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HIDING.format(hidden=hidden))
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def call(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "loopkit_command", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder, timeout=240)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return calls(tmp_path, EXTRAS)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A user's reward, which a reply that lists every number games, rows for it, and a log of completions."""
    (tmp_path / "mine.py").write_text(
        "def found(completions, answer, **kwargs):\n"
        "    return [float(a in c.split()) for c, a in zip(completions, answer)]\n"
    )
    rows = [{"prompt": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = [{"prompt": r["prompt"], "completion": f"1 2 3 4 5 {r['answer']}", "reward": 1.0} for r in rows]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    return tmp_path


@pytest.mark.skipif("LOOPKIT_BASE" not in os.environ, reason="the packages are hidden here, and not absent: tools/base")
def test_the_environment_has_none_of_the_extras() -> None:
    assert [name for name in EXTRAS if importlib.util.find_spec(name)] == []


def test_list_shows_every_name_and_its_options(call: Call) -> None:
    shown = json.loads(call("list", "--json").stdout)
    assert {"grpo", "sft", "openrlhf:grpo", "proxy-metric", "own-reward", "tiny"} <= {row["name"] for row in shown}
    assert not [row for row in shown if "cannot be loaded" in row["what"]]
    assert "trainer.learning_rate" in call("list", "trainers", "grpo").stdout
    assert "game.data" in call("list", "games", "proxy-metric").stdout


def test_doctor_finds_no_problem_and_says_how_to_get_torch(call: Call) -> None:
    said = call("doctor").stdout
    assert "pip install 'loopkit-rl[train]'" in said
    assert said.rstrip().endswith("No problems found.")


def test_a_reward_is_probed(call: Call, files: Path) -> None:
    found = json.loads(call("check", "--reward", "mine.py:found", "--data", "rows.jsonl", "--json", code=1).stdout)
    assert (found["word"], found["reward"]) == ("gameable", "mine.py:found")
    assert found["hits"][0]["fell"] == 60


def test_logs_are_audited(call: Call, files: Path) -> None:
    found = json.loads(call("audit", "log.jsonl", "--out", "audited", "--json").stdout)
    assert found["rows"] == 60
    assert list((files / "audited").glob("*.html"))


def test_a_report_is_written(call: Call, tmp_path: Path) -> None:
    experiment(tmp_path / "runs", seeds="1", steps=3, held_out=60)
    call("report", "runs")
    page = (tmp_path / "runs/report.html").read_text()
    assert "compliance-gap" in page
    assert "<svg" in page


def test_a_served_model_is_evaluated(call: Call) -> None:
    with serving(lambda messages: "Yes, that is correct.") as server:
        found = json.loads(call("eval", server.model, "--game", "self-grading", "--prompts", "12", "--json").stdout)
    assert found["rates"]["false-claim"]["n"] == 12
    assert len({json.dumps(asked["messages"]) for asked in server.asked}) >= 12


def test_a_game_of_ones_own_is_begun(call: Call, tmp_path: Path) -> None:
    call("new", "game", "my-game")
    text = (tmp_path / "loopkit-my-game/pyproject.toml").read_text()
    assert 'dependencies = ["loopkit-rl>=' in text


MISSING = {
    "train": [
        "run --game self-grading", "run --game self-grading --model some/where", "eval tiny --game self-grading",
        "warmup --out w", "check grpo", "study paper --seeds 1",
    ],
    "text": ["check proxy-metric"],
    "reasoning-gym": ["run --reward reasoning-gym:chain_sum"],
    "inspect": ["audit some.eval"],
}  # fmt: skip


@pytest.mark.parametrize(("extra", "words"), [(extra, w) for extra, commands in MISSING.items() for w in commands])
def test_a_missing_extra_is_named_in_one_line_with_its_cure(extra: str, words: str, tmp_path: Path) -> None:
    hidden = (*EXTRAS, "reasoning_gym", "inspect_ai") if extra != "text" else EXTRAS[-3:]
    (tmp_path / "some.eval").write_bytes(b"PK")
    done = calls(tmp_path, hidden)(*words.split(), code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith(f": pip install 'loopkit-rl[{extra}]'")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name not in ("runs", "studies")) == ["site", "some.eval"]


@pytest.mark.slow
def test_all_that_can_be_checked_is_checked_and_the_rest_is_named(call: Call) -> None:
    done = call("check", "--fuzz", "10", "--json", code=2)
    assert {"self-grading", "context-compliance"} <= {r["name"] for r in json.loads(done.stdout)}
    for name, extra in (("proxy-metric", "text"), ("grpo", "train")):
        (line,) = [x for x in done.stderr.splitlines() if x.startswith(f"Not checked: {name}.")]
        assert line.endswith(f"pip install 'loopkit-rl[{extra}]'")


# --- another system ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    ["--help", "list", "probe --help", "audit log.jsonl",
     "check context-compliance --fuzz 10", "list trainers openrlhf:grpo"],
)  # fmt: skip
def test_the_base_imports_no_module_that_only_linux_has(words: str, files: Path) -> None:
    """Hidden, they hide the sandbox, too, which says so where a game needs it."""
    done = calls(files, (*EXTRAS, *LINUX))(*words.split())
    assert "Traceback" not in done.stderr


def test_what_needs_another_system_is_refused_by_name(files: Path) -> None:
    call = calls(files, (*EXTRAS, "fcntl"))
    experiment(files / "runs", seeds="1", steps=2, held_out=20)
    said = " ".join(call("rescore", "runs/loophole-s0", code=2).stderr.split())
    assert "flock" in said
    assert "Linux" in said
