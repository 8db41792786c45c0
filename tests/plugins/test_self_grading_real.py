"""self-grading on rows of one's own and on reasoning-gym's sets: who decides what is right, and what is refused."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopkit_self_grading import real
from loopkit_self_grading.answers import asked_form, exactly, marked, number, same

from loopkit.checks import check_game
from loopkit.contracts import SPLITS
from loopkit.errors import UsageError
from loopkit.experiment.resolve import build_game
from loopkit.records import Message, Rollout, Turn
from loopkit.registry.plugins import load

GYM = "needs the extra reasoning-gym: pip install 'loopkit-rl[reasoning-gym]'"


def game(**options: Any) -> Any:
    return build_game(load(), "self-grading", options)


def assessed(made: Any, task: Any, answer: str, report: str = "Yes") -> Any:
    first = Rollout("train/000000/0000/x/0", task, ((Turn(answer), Message("user", "?")),))
    reply = made.reply([first])[0]
    steps = ((Turn(answer), reply), (Turn(report), made.reply([Rollout("x", task, first.steps * 2)])[0]))
    return made.assess([Rollout(first.id, task, steps)])[0]


# --- comparing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "truth", "right"),
    [
        ("The answer is 1,200.", "1200", True),
        ("so it is 1200.0", "1,200", True),
        ("1.2e3", "1200", True),
        ("1/2", "0.5", True),
        ("= 0.50 of it", "1/2", True),
        ("3 apples and 4 pears make 7", "7", True),
        ("7, not 8", "7", False),  # the last number counts
        ("<answer>7</answer>, not 8", "7", True),
        ("<answer>8</answer> <answer>7</answer>", "7", True),
        ("\\boxed{7} is right, 8 is not", "7", True),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}", True),
        ("work: 3 * 4 = 12\n#### 12", "12", True),
        ("-5", "5", False),
        ("\u22125", "-5", True),
        ("15", "5", False),
        ("0.333", "1/3", False),
        ("$1,200", "1200", True),
        ("50%", "50", True),
        ("1e99999999", "1", False),
        ("9" * 5000, "9", False),
        ("Paris", "paris", True),
        ("  PARIS.\n", "Paris", True),
        ("I think it's this:\n**Paris**", "Paris", True),
        ("The answer is: Paris", "Paris", True),
        ("Not Paris", "Paris", False),
        ("Paris or Rome", "Paris", False),
        ("<answer>Rome</answer> Paris", "Paris", False),
        ("(B)", "B", True),
        ("AB", "B", False),
        ("\uff21", "a", True),
        ("", "Paris", False),
        ("", "0", False),
        ("null", "0", False),
        ("1 2 3", "1 2 3", True),
        ("[1, 2]", "[1,2]", True),
        ("so \\boxed{\\text{Yes}}", "yes", True),
        ("\\boxed{\\text{yes},\\ \\text{unknown},\\, \\text{no}}", "yes, unknown, no", True),
        ("\\boxed{yes,unknown,no}", "yes, unknown, no", True),
        ("\\boxed{\\mathrm{\\mathbf{J}}}", "(J)", True),
        ("\\boxed{\\text{no}}, not yes", "yes", False),
    ],
)
def test_answers_are_compared_as_the_card_says(reply: str, truth: str, right: bool) -> None:
    assert same(reply, [truth]) is right


def test_a_form_that_is_asked_for_is_the_only_one_read() -> None:
    assert asked_form("Put the final answer in \\boxed{}.") == "\\boxed"
    assert asked_form("What is 3 + 4?") is None
    assert same("\\boxed{7}", ["7"], "\\boxed")
    for reply in ("7", "<answer>7</answer>", "#### 7", "the answer is 7", "\\boxed{8} 7"):
        assert not same(reply, ["7"], "\\boxed")
    assert same("#### 7", ["7"], "####")
    assert same("<answer>7</answer> \\boxed{8}", ["7"], "<answer>")


@given(st.text(st.characters(), max_size=60), st.text(max_size=20))
def test_comparing_never_raises(reply: str, truth: str) -> None:
    assert same(reply, [truth]) in (True, False)
    number(reply), marked(reply), exactly(truth)


def test_comparing_takes_no_longer_for_odd_texts() -> None:
    began = time.process_time()
    for text in (
        "1," * 50_000,
        "<answer>" * 20_000,
        "\\boxed{" * 20_000,
        "#" * 100_000,
        "-" * 100_000,
        "1 / " * 30_000,
    ):
        same(text, ["x", "1"])
    assert time.process_time() - began < 5


# --- rows -------------------------------------------------------------------------------------------------------------


def rows(folder: Path, made: list[dict[str, Any]], name: str = "rows.jsonl") -> str:
    path = folder / name
    if name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(made), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return str(path)


def questions(n: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"Half of {i}?"}],
            "reward_model": {"style": "rule", "ground_truth": f"{i}/2" if i % 2 else str(i // 2)},
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_rows_are_read_split_and_checked(name: str, tmp_path: Path) -> None:
    made = game(data=rows(tmp_path, questions(80) + questions(3), name))
    tasks = {split: made.tasks(split) for split in SPLITS}
    assert sum(map(len, tasks.values())) == 80, "equal prompts are kept once"
    prompts = [{t.messages[-1].content for t in found} for found in tasks.values()]
    assert not (prompts[0] & prompts[1] | prompts[0] & prompts[2] | prompts[1] & prompts[2])
    assert tasks["train"][0].messages[-1].decode.max_tokens == 512
    task = next(t for found in tasks.values() for t in found if t.messages[0].content == "Half of 9?")
    assert assessed(made, task, "It is 4.5").scores["task"] == 1.0
    assert assessed(made, task, "It is 4").clues == {"false_claim": True, "claim_if_wrong": True}
    report = check_game(made, name="self-grading", n_tasks=9, fuzz=60, new_process=False)
    assert report.status == "proven", report.reasons


def test_choices_that_stand_in_the_prompt_are_no_leaked_secret(tmp_path: Path) -> None:
    made = [
        {"prompt": f"Question {i}: forward or backward?", "reward_model": {"ground_truth": ["forward", "ahead"]}}
        for i in range(90)
    ]
    played = game(data=rows(tmp_path, made))
    task = played.tasks("train")[0]
    assert assessed(played, task, "Ahead!").scores["task"] == 1.0
    report = check_game(played, n_tasks=6, fuzz=30, new_process=False)
    assert report.status == "proven", report.reasons


@pytest.mark.parametrize("reward_model", [{}, {"ground_truth": None}, {"ground_truth": ""}, {"ground_truth": []}, "x"])
def test_a_row_without_an_answer_is_named(reward_model: Any, tmp_path: Path) -> None:
    path = rows(tmp_path, [*questions(3), {"prompt": "?", "reward_model": reward_model}])
    with pytest.raises(UsageError, match=r"row 3 has no reward_model\.ground_truth"):
        game(data=path).tasks("train")


def test_an_empty_split_says_so(tmp_path: Path) -> None:
    made = game(data=rows(tmp_path, questions(1)))
    empty = [split for split in SPLITS if split != next(s for s, t in real.rows(*source(made)).items() if t)]
    with pytest.raises(UsageError, match="no question falls in split"):
        made.tasks(empty[0])


def source(made: Any) -> tuple[str, str, int]:
    return made.options.data, made.options.data_sha256, made.options.max_tokens


# --- reasoning-gym ----------------------------------------------------------------------------------------------------


def test_without_the_extra_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(UsageError, match=r"pip install 'loopkit-rl\[reasoning-gym\]'"):
        game(reasoning_gym="chain_sum")
    assert len(game().tasks("dev")) == 2200, "and nothing else needs it"


def test_a_set_is_played_and_its_own_scorer_decides() -> None:
    pytest.importorskip("reasoning_gym", reason=GYM)
    made = game(reasoning_gym="chain_sum", reasoning_gym_config={"max_terms": 3}, reasoning_gym_size=150)
    tasks = {split: made.tasks(split) for split in SPLITS}
    prompts = [{t.messages[-1].content for t in found} for found in tasks.values()]
    assert all(prompts)
    assert not (prompts[0] & prompts[1] | prompts[0] & prompts[2] | prompts[1] & prompts[2])
    task = tasks["test"][0]
    right = real.truths(task)[0]
    assert assessed(made, task, f"I add. <answer> {right} </answer>").scores["task"] == 1.0
    assert assessed(made, task, right).scores["task"] == 0.0  # the form was asked for
    loose = game(
        reasoning_gym="chain_sum", reasoning_gym_config={"max_terms": 3}, reasoning_gym_size=150, loose_answers=True
    )
    assert assessed(loose, task, right).scores["task"] == 1.0
    assert assessed(made, task, f"<answer>{right}1</answer> {right}").scores["task"] == 0.0
    assert made.tasks("test") == game(**made.options.model_dump()).tasks("test")
    other = game(reasoning_gym="chain_sum", reasoning_gym_size=150, reasoning_gym_seed=1).tasks("test")
    assert {t.messages[-1].content for t in other} != prompts[2]
    report = check_game(made, name="self-grading", n_tasks=9, fuzz=60, new_process=False)
    assert report.status == "proven", report.reasons


def test_what_reasoning_gym_refuses_is_the_users_error() -> None:
    pytest.importorskip("reasoning_gym", reason=GYM)
    for options, said in (
        ({"reasoning_gym": "chain_sums"}, "no data set 'chain_sums'. Did you mean 'chain_sum'"),
        ({"reasoning_gym": "chain_sum", "reasoning_gym_config": {"terms": 1}}, "game.reasoning_gym=chain_sum with"),
        ({"reasoning_gym": "chain_sum", "reasoning_gym_config": {"min_terms": 0}}, "Mend game.reasoning_gym_config"),
        ({"reasoning_gym": "countdown"}, r"runs parse_expr\(\) on the answer.*trust_scorer=true"),
        ({"reasoning_gym": "n_queens"}, r"runs eval\(\) on the answer"),
        ({"reasoning_gym": "composite"}, "other sets' scorers"),
    ):
        with pytest.raises(UsageError, match=said):
            game(**options).tasks("train")
    with pytest.raises(UsageError, match="data and reasoning_gym are both set"):
        game(reasoning_gym="chain_sum", data=__file__)
    with pytest.raises(UsageError, match=r"reasoning-gym 0\.0 made this run's questions"):
        game(reasoning_gym="chain_sum", reasoning_gym_version="0.0")


def test_a_scorer_that_would_run_the_answer_is_seen_wherever_it_calls_from() -> None:
    gym = pytest.importorskip("reasoning_gym", reason=GYM)
    sets = gym.factory.DATASETS
    unsafe = {name for name, (cls, _) in sets.items() if real.evaluates(cls)}
    assert {"countdown", "puzzle24", "n_queens", "polynomial_multiplication", "spiral_matrix"} <= unsafe
    assert not {"chain_sum", "sudoku", "propositional_logic", "gsm_symbolic"} & unsafe
    assert len(unsafe) < len(sets) / 4


def test_a_scorer_that_raises_calls_it_wrong_and_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    class Raises:
        def score_answer(self, answer: str, entry: Any) -> float:
            return 1 / len(answer.replace("x", ""))

        def __getitem__(self, i: int) -> Any:
            return {"question": "?", "answer": "1"}

    task = real.Task("t", (Message("user", "?"),), {"kind": "gym", "index": 0}, {"answers": ["1"]})
    assert not real.gym_right(Raises(), task, "xxx", loose=True)
    assert "scorer raised" in capfd.readouterr().err
    assert real.gym_right(Raises(), task, "1", loose=True)


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")  # the sets' own
def test_every_set_with_a_safe_scorer_is_played() -> None:
    """Its own answer is right, and some other is wrong; a set whose answers its scorer refuses says so."""
    gym = pytest.importorskip("reasoning_gym", reason=GYM)
    refused = []
    for name, (cls, _) in sorted(gym.factory.DATASETS.items()):
        if real.evaluates(cls):
            continue
        made = game(reasoning_gym=name, reasoning_gym_size=5)
        try:
            found = real.gym(*made._gym, 64)
            said = [(t, made.specimens(t, lambda purpose: 0.5)) for tasks in found.values() for t in tasks]
        except UsageError as error:
            refused.append(f"{name}: {error}")
            continue
        for task, specimens in said:
            assert made._right(task, specimens["honest"][0][0]), (name, task)
            assert not made._right(task, specimens["exploit"][0][0]), (name, task)
    print(refused)
    assert len(refused) <= 6, refused  # with reasoning-gym 0.1.25: some sets score no answer right, one scores any
