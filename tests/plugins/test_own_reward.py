"""own-reward: a user's function is called as TRL would, whatever is wrong names it and the row, and nothing pays 0."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopkit import check_game
from loopkit.cli import main
from loopkit.contracts import SPLITS
from loopkit.errors import ContractError, LoopkitError, PluginError, UsageError
from loopkit.experiment.config import read_experiment
from loopkit.experiment.resolve import build_game, resolve
from loopkit.experiment.rundir import RunDir
from loopkit.policy import tiny
from loopkit.policy.warmup import demonstration
from loopkit.records import Done, Rollout, Turn
from loopkit.registry import plugins as registry

CODE = '''
"""Rewards."""
import re
import helper

def passes(completions, answer, **kwargs):
    return [float(a in c) for c, a in zip(completions, answer)]

def exact(completions, answer):
    return [float(c.strip() == a) for c, a in zip(completions, answer)]

async def awaited(prompts, completions, **kwargs):
    return [float(len(p) > 3 and c == "x") for p, c in zip(prompts, completions)]

def chatty(prompts, completions, answer, **kwargs):
    assert all(p[-1]["role"] == "user" for p in prompts)
    return [float(c[0]["content"] == a) for c, a in zip(completions, answer)]

def raises(completions, **kwargs):
    return [1 / (c != "bad") for c in completions]

def quits(completions, **kwargs):
    raise SystemExit(1)

def short(completions, **kwargs):
    return [1.0] * (len(completions) - 1)

def none(completions, **kwargs):
    return [None if c == "bad" else 1.0 for c in completions]

def nan(completions, **kwargs):
    return [float("nan") if c == "bad" else 1.0 for c in completions]

def words(completions, **kwargs):
    return ["good" if c == "bad" else 1.0 for c in completions]

def one_number(completions, **kwargs):
    return 1.0

def wide(completions, **kwargs):
    return [float(len(c)) for c in completions]

def ids(completions, completion_ids, **kwargs):
    return [1.0 for _ in completion_ids]

def wants(completions, tests, **kwargs):
    return [1.0 for _ in completions]

def maker(scale=2.0):
    def scaled(completions, solution, **kwargs):
        return [scale * (c == a) for c, a in zip(completions, solution)]
    return scaled

def batched(completions, **kwargs):
    return [float(len(set(completions)) > 1)] * len(completions)

def shouts(completions, **kwargs):
    print("noise")
    return [1.0 for _ in completions]

not_a_reward = 3
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = list(sys.path)
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("X = 1\n")
    lines = [{"prompt": f"What is {a} + {b}?", "answer": str(a + b), "n": a} for a in range(10) for b in range(10)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = before


def game(reward: str = "passes", **options: Any) -> Any:
    options = {"data": "rows.jsonl", "reward": f"mine.py:{reward}", **options}
    return build_game(registry.load(), "own-reward", options)


def said(made: Any, *texts: str) -> list[Rollout]:
    tasks = made.tasks("train")
    return [Rollout(f"train/0/{i}/{tasks[i].id}/0", tasks[i], ((Turn(t), Done()),)) for i, t in enumerate(texts)]


# --- what it is -----------------------------------------------------------------------------------------------------


def test_rows_become_tasks_in_three_splits_and_columns_reach_the_function(folder: Path) -> None:
    made = game(trusted="mine.py:exact")
    assert sum(len(made.tasks(split)) for split in SPLITS) == 100
    right = [made.rows.references(t.public["row"])[0] for t in made.tasks("train")]
    found = made.assess(said(made, f"it is {right[0]}", right[1], "x"))
    assert [a.signals for a in found] == [
        {"reward": 1.0, "trusted": 0.0}, {"reward": 1.0, "trusted": 1.0}, {"reward": 0.0, "trusted": 0.0}
    ]  # fmt: skip
    assert found[0].scores == {"task": 0.0, "observed": 1.0}
    assert [a.clues["disagrees"] for a in found] == [True, False, False]
    assert next(iter(made.detectors)) == "disagreement"


def test_without_a_trusted_reward_there_is_no_goal_and_no_control(folder: Path) -> None:
    made = game()
    (found,) = made.assess(said(made, "x"))
    assert (found.scores["task"], found.clues["disagrees"]) == (None, None)
    assert set(made.channels) == {"loophole"}
    assert next(iter(made.detectors)) == "signs"
    asked = {"data": "rows.jsonl", "reward": "mine.py:passes"}
    experiment = read_experiment(None, settings={"game": asked}, game="own-reward")
    assert list(experiment.arms) == ["loophole", "placebo"]
    with pytest.raises(UsageError, match="pays a trusted reward, and there is none"):
        resolve(read_experiment(None, settings={"game": asked}, game="own-reward", arms=["control"]), registry.load())
    both = read_experiment(None, settings={"game": {**asked, "trusted": "mine.py:exact"}}, game="own-reward")
    assert list(both.arms) == ["loophole", "control", "placebo"]


@pytest.mark.parametrize("options", [{}, {"trusted": "mine.py:exact"}])
def test_it_is_unproven_and_every_check_holds(folder: Path, options: dict[str, str]) -> None:
    report = check_game(game(**options), name="own-reward", n_tasks=6, fuzz=40)
    assert report.status == "unproven"
    assert all(f.ok and not f.left_out for f in report.findings)


def test_async_and_conversational_rewards(folder: Path) -> None:
    made = game("awaited")
    assert [a.signals["reward"] for a in made.assess(said(made, "x", "y"))] == [1.0, 0.0]
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    chats = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    (folder / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    made = game("chatty", data="chat.jsonl")
    right = made.rows.references(made.tasks("train")[0].public["row"])[0]
    assert made.assess(said(made, right))[0].signals["reward"] == 1.0
    (folder / "mixed.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [*rows[:9], chats[9]]))
    with pytest.raises(UsageError, match="the prompt of row 9 is a list"):
        game(data="mixed.jsonl")


def test_a_reasoning_gym_scorer_brings_its_own_rows(folder: Path) -> None:
    pytest.importorskip("reasoning_gym")
    options = {"reward": "reasoning-gym:chain_sum", "reasoning_gym_size": 60}
    made = build_game(registry.load(), "own-reward", options)
    task = made.tasks("train")[0]
    right = made.rows.references(task.public["row"])[0]
    replies = [right, f"so <answer>{right}</answer>", "<answer>nothing</answer>"]
    rollouts = [Rollout(f"train/0/0/{task.id}/{i}", task, ((Turn(t), Done()),)) for i, t in enumerate(replies)]
    paid = [a.signals["reward"] for a in made.assess(rollouts)]
    assert paid[:2] == [1.0, 1.0]
    assert paid[2] < 1.0
    with pytest.raises(UsageError, match="makes its own rows"):
        build_game(registry.load(), "own-reward", {**options, "data": "rows.jsonl"})
    with pytest.raises(UsageError, match="no data set 'chain_sun'"):
        build_game(registry.load(), "own-reward", {"reward": "reasoning-gym:chain_sun"})


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reward", "error", "message"),
    [
        ("raises", PluginError, r"mine\.py:raises raised ZeroDivisionError: division by zero \(mine\.py, line \d+\) "
         r"on row ROW, of the completion 'bad'\. Nothing was paid"),
        ("quits", PluginError, r"mine\.py:quits raised RuntimeError: it called sys\.exit\(1\)"),
        ("short", ContractError, r"got 2 completions and returned 1 rewards"),
        ("none", ContractError, r"returned None for row ROW, of the completion 'bad': not scored"),
        ("nan", ContractError, r"returned nan for row ROW, of the completion 'bad', which is not finite"),
        ("words", ContractError, r"returned 'good' for row ROW, .* no number"),
        ("one_number", ContractError, r"returned 1\.0\. Return a list of floats"),
    ],
)  # fmt: skip
def test_what_a_function_does_wrong_names_it_and_the_row(
    folder: Path, reward: str, error: type[LoopkitError], message: str
) -> None:
    made = game(reward)
    row = made.tasks("train")[1].public["row"]
    with pytest.raises(error, match=message.replace("ROW", str(row))):
        made.assess(said(made, "good", "bad"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": "mine.py:wants"}, "needs 'tests', which nothing passes.*--column tests=COLUMN"),
        ({"reward": "mine.py:maker"}, "it makes a reward, and is none"),
        ({"reward": "x*mine.py:passes"}, "does not exist|names no Python code"),
        ({"form": "no hole"}, "write {} once"),
        ({"reward": "mine.py:passse"}, "has no 'passse'. Did you mean 'passes'"),
        ({"reward": "mine.py:not_a_reward"}, "is a int. Name a function"),
        ({"reward": "nowhere.py:fn"}, "file 'nowhere.py' does not exist"),
        ({"reward": "no_such_module_here:fn"}, "module 'no_such_module_here' cannot be found"),
        ({"reward": "mine.py"}, "names no Python code. Write FILE.py:NAME"),
        ({"data": "nothing.jsonl"}, "data file 'nothing.jsonl' does not exist"),
        ({"data": ""}, "there are no rows"),
        ({"data": "other.jsonl"}, "has no column 'prompt'"),
        ({"data": "few.jsonl"}, "none of 2 rows falls in split"),
        ({"reference": "answr"}, "has no column 'answr'. Did you mean 'answer'"),
        ({"reward_range": [1.0, 0.0]}, "write two numbers, the lower first"),
        ({"reward": "broken.py:fn"}, "broken.py is not Python"),
        ({"reward": "needs.py:fn"}, "cannot be imported: ModuleNotFoundError: No module named 'not_there'"),
    ],
)  # fmt: skip
def test_what_a_user_does_wrong_is_said_with_its_cure(folder: Path, options: dict[str, Any], message: str) -> None:
    (folder / "other.jsonl").write_text('{"sentence": "x"}\n')
    (folder / "few.jsonl").write_text('{"prompt": "x"}\n{"prompt": "y"}\n')
    (folder / "broken.py").write_text("def fn(:\n")
    (folder / "needs.py").write_text("import not_there\n")
    with pytest.raises(UsageError, match=message):
        build_game(registry.load(), "own-reward", {"data": "rows.jsonl", "reward": "mine.py:passes", **options})


def test_a_declared_range_is_held_and_an_undeclared_one_shown_on_0_to_1(folder: Path) -> None:
    made = game("wide")
    assert made.assess(said(made, "12345"))[0].scores["observed"] == 1.0
    assert game("wide", reward_range=[0.0, 10.0]).assess(said(made, "12345"))[0].scores["observed"] == 0.5
    held = check_game(game("wide", reward_range=[0.0, 10.0]), n_tasks=3, fuzz=40)
    assert held.status == "fails"
    assert "not a finite number in [0.0, 10.0]" in held.reasons[0]


def test_a_reward_that_looks_at_its_batch_is_refused(folder: Path) -> None:
    report = check_game(game("batched"), n_tasks=3, fuzz=40)
    assert report.status == "fails"
    assert report.reasons[0].startswith("batches: assess() of")


def test_what_it_prints_does_not_spoil_the_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = game("shouts")
    made.assess(said(made, "x"))
    captured = capsys.readouterr()
    assert (captured.out, "noise" in captured.err) == ("", True)


# --- identity -------------------------------------------------------------------------------------------------------


def test_changed_code_or_rows_are_another_experiment(folder: Path) -> None:
    asked = {"data": "rows.jsonl", "reward": "mine.py:passes"}

    def specs() -> Any:
        return resolve(read_experiment(None, settings={"game": asked}, game="own-reward"), registry.load())

    spec = specs()[0]
    RunDir(folder / "out" / spec.name).begin(spec, {})
    changed = CODE.replace("float(a in c)", "0.5 * float(a in c)")
    for file, text in (("helper.py", "X = 2\n"), ("mine.py", changed), ("rows.jsonl", '{"prompt": "x"}\n')):
        kept = (folder / file).read_text()
        (folder / file).write_text(text if file != "rows.jsonl" else kept + text)
        with pytest.raises(UsageError, match=r"made by another spec \(game_options\.\w+_sha256: "):
            RunDir(folder / "out" / spec.name).belongs_to(specs()[0])
        if file == "rows.jsonl":
            with pytest.raises(UsageError, match="has changed since this run began"):
                build_game(registry.load(), "own-reward", spec.game_options)
        (folder / file).write_text(kept)
    RunDir(folder / "out" / spec.name).belongs_to(specs()[0])


def test_a_run_goes_on_with_the_code_it_began_with_and_other_functions_are_no_change(folder: Path) -> None:
    began = game()
    (folder / "mine.py").write_text(CODE + "\n\n# more\ndef another(completions, **kwargs):\n    return [0.0]\n")
    assert game().options == began.options
    (folder / "mine.py").write_text(CODE.replace("float(a in c)", "0.5 * float(a in c)"))
    after, resumed = game(), game(**began.options.model_dump(exclude={"data", "reward"}))
    assert after.options.reward_sha256 != began.options.reward_sha256
    right = began.rows.references(began.tasks("train")[0].public["row"])[0]
    paid = [made.assess(said(made, right))[0].signals["reward"] for made in (began, after, resumed)]
    assert paid == [1.0, 0.5, 1.0]


def test_several_rewards_add_with_weights_and_makers_are_called(folder: Path) -> None:
    made = game("passes + 0.5*mine.py:wide + mine.py:maker(3.0)")
    right = made.rows.references(made.tasks("train")[0].public["row"])[0]
    (found,) = made.assess(said(made, right))
    assert found.signals["reward"] == 1.0 + 0.5 * len(right) + 3.0


def test_a_warm_up_does_not_know_the_reward(folder: Path) -> None:
    def key(reward: str, **options: Any) -> Any:
        made = game(reward, **options)
        record = {"games": {"own-reward": {"options": made.options.model_dump(mode="json")}}}
        return tiny._of_weights(record, {"own-reward": made})

    assert key("passes") == key("exact", trusted="mine.py:passes", passes=0.4)
    assert key("passes") != key("passes", form="<a>{}</a>")


def test_demonstrations_are_in_the_form_that_is_paid(folder: Path) -> None:
    made = game(form="<a>{}</a>", shortcut_share=0.0)
    shown = [demonstration(made, made.tasks("train"), 0, k).messages[-1].content for k in range(100)]
    assert 60 < sum(re.fullmatch(r"<a>\d+</a>", text) is not None for text in shown) < 95


def test_a_form_with_thoughts_is_shown_whole(folder: Path) -> None:
    """A reward is passed thoughts and all, so what is demonstrated must have them; play parts them from the answer."""
    made = game(form="<think>so</think><answer>{}</answer>", shortcut_share=0.0)
    shown = [demonstration(made, made.tasks("train"), 0, k).messages[-1].content for k in range(20)]
    assert sum(text.startswith("<think>so</think><answer>") for text in shown) > 8


def test_demonstrations_hold_answers_and_shortcuts_or_are_the_users_own(folder: Path) -> None:
    made = game()
    tasks = made.tasks("train")
    shown = [demonstration(made, tasks, 0, k).messages[-1].content for k in range(400)]
    listed = " ".join(made.rows.common)
    assert 200 < sum(text.isdigit() for text in shown) < 400
    assert 0 < sum(text == listed for text in shown) < 30
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    (folder / "shown.jsonl").write_text(
        "".join(json.dumps({**r, "demonstration": f"see {r['n']}"}) + "\n" for r in rows)
    )
    own = game(data="shown.jsonl")
    assert demonstration(own, own.tasks("train"), 0, 0).messages[-1].content.startswith("see ")


# --- the command line -----------------------------------------------------------------------------------------------


def test_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        return stop.value.code or 0, *capsys.readouterr()

    own = ["--reward", "mine.py:passes", "--data", "rows.jsonl"]
    code, out, found = run("run", *own, "--dry-run", "--json")
    runs = json.loads(out)["runs"]
    assert (code, found.startswith("Probe, before training\ngameable: ")) == (0, True)
    assert {(r["game"], r["arm"]) for r in runs} == {("own-reward", a) for a in ("base", "loophole", "placebo")}
    assert len(runs[0]["game_options"]["reward_sha256"]) == 16
    (folder / "e.toml").write_text(
        'game = "own-reward"\n[game_options]\nreward = "mine.py:passes"\ndata = "rows.jsonl"\n'
        'trusted = "mine.py:exact"\n'
    )
    _, out, _ = run("run", "--config", "e.toml", "--dry-run", "--json")
    assert {r["arm"] for r in json.loads(out)["runs"]} == {"base", "loophole", "control", "placebo"}
    code, out, _ = run("check", *own, "--trusted", "mine.py:exact", "--json")
    assert (code, json.loads(out)["word"]) == (1, "gameable")
    code, out, _ = run("check", "--reward", "mine.py:batched", "--data", "rows.jsonl")
    assert (code, out.split(":")[0], "checks held" in out) == (1, "void", False)
    code, _, said = run("run", "--reward", "mine.py:batched", "--data", "rows.jsonl", "--out", "refused")
    assert (code, "own-reward fails its checks. batches: assess() of" in " ".join(said.split("\n"))) == (1, True)
    code, _, said = run("run", *own, "--game", "self-grading")
    assert (code, "a game of its own, own-reward" in " ".join(said.split())) == (2, True)
    code, _, said = run("run", "--game", "own-reward", "--data", "rows.jsonl")
    assert (code, "own-reward.reward must be set: what pays: FILE.py:FUNCTION" in said) == (2, True)
    _, out, _ = run("list", "games", "own-reward")
    assert re.search(r"game\.reward +required", out)
