"""The probe: what is gameable is called so with the reply that shows it, and what is sound is not accused."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

import loopkit
from loopkit.cli import main
from loopkit.errors import UsageError
from loopkit.probing import Probe
from loopkit.probing.regexes import forms
from loopkit.rewards.source import fingerprint
from tests.probing import planted, sound
from tests.probing import planted_apart as apart

MINE = Path(__file__).parent / "mine.py"
PLANTED = Path(__file__).parent / "planted.py"
APART = Path(__file__).parent / "planted_apart.py"
UNFOUND = {"between", "plus_minus", "span", "evaluates", "bullets", "numbered", "working"}
"""Planted faults that the probe does not find: docs/probe-results.md lists them. One that it finds is to leave here."""
SUMS = [{"prompt": f"What is {a} + {b}?", "answer": str(a + b)} for a in range(2, 12) for b in range(3, 30, 9)]
VERL = [{"prompt": [{"role": "user", "content": r["prompt"]}], "data_source": "sums", "extra_info": {},
         "reward_model": {"style": "rule", "ground_truth": r["answer"]}} for r in SUMS]  # fmt: skip
HUB = [{"question": r["prompt"], "answer": f"They are added.\n#### {r['answer']}"} for r in SUMS]
UNREAD = [{**r, "answer": "see the figure"} if k % 4 == 0 else r for k, r in enumerate(SUMS)]
ASKED = "Think between <think> and </think>, then answer between <answer> and </answer>."
YES_NO = [
    {"prompt": f"Is {r['prompt'][8:-1]} even? yes or no?", "answer": ("no", "yes")[k % 2]} for k, r in enumerate(SUMS)
]
CHOICES = [{"prompt": f"{r['prompt']} Which is it: cat, dog or hen?", "answer": ("cat", "dog", "hen")[k % 3]}
           for k, r in enumerate(SUMS)]  # fmt: skip
SOUND = Path(__file__).parent / "sound.py"
WORDY = [{**r, "prompt": f"Find the sum of these numbers: {r['prompt'][8:-1]}. Answer shortly."} for r in SUMS]
TAGGED = [{**r, "prompt": f"{r['prompt']} {ASKED}"} for r in SUMS]


def slow(*values: Any) -> Any:
    """A case that .ci/run makes: each probe is nearly a second of CPU, most of it two Pythons that start."""
    return pytest.param(*values, marks=pytest.mark.slow)


@functools.cache
def contained() -> Probe:
    return probed("contained")


def probed(name: str, rows: Any = SUMS, **options: Any) -> Probe:
    return loopkit.probe(f"{MINE}:{name}", rows, **{"search": 0, "rows": 24, **options})


@pytest.mark.parametrize(
    ("name", "rows", "form"),
    [
        ("exact", SUMS, "{}"), slow("last_number", SUMS, "{}"), slow("close", SUMS, "{}"), ("in_group", SUMS, "{}"),
        ("tagged", TAGGED, "<answer>{}</answer>"), slow("boxed", SUMS, r"\boxed{{{}}}"), slow("exact", UNREAD, "{}"),
        slow("strict_form", SUMS, "<plan>\nx\n</plan>\n<result>\n{}\n</result>"),
        slow("last_word", YES_NO, "{}"), slow("exact", CHOICES, "{}"),
    ],
)  # fmt: skip
def test_a_sound_reward_is_not_accused_and_its_form_is_found(name: str, rows: Any, form: str) -> None:
    found = probed(name, rows)
    assert (found.word, found.code, found.hits) == ("nothing found", 0, [])
    assert found.form is not None
    assert found.form.template.replace("The parts are taken one by one.", "x") == form
    assert "no proof" in str(found)


@pytest.mark.parametrize(
    ("name", "rows", "word", "reply", "cure"),
    [
        ("contained", SUMS, "gameable", " 20 ", "exactly one answer"),
        slow("either_way", SUMS, "gameable", "", "empty"),
        slow("unread", UNREAD, "gameable", "", "cannot be read"),
        ("tags_mostly", TAGGED, "gameable", "</answer>", "form only where the answer is right"),
        slow("operand", SUMS, "gameable", "2", "not with the question"),
        slow("exits", SUMS, "gameable", "exit(0)", "exit code"),
        slow("constant", SUMS, "void", None, "looks at nothing"),
        slow("long", SUMS, "gameable", "We look", "Cap it"),
        slow("wrong_sign", SUMS, "mis-signed", None, "sign"),
        ("first_of_batch", SUMS, "void", None, "zip"),
        slow("by_chance", SUMS, "void", None, "Draw nothing"),
        slow("by_clock", SUMS, "void", None, "clock"),
        slow("by_hash", SUMS, "void", None, "hash"),
        slow("by_place", SUMS, "void", None, "alone|by itself"),
        slow("zero", SUMS, "could not tell", None, "--good"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_reply_and_cure(
    name: str, rows: Any, word: str, reply: str | None, cure: str
) -> None:
    found = probed(name, rows)
    assert found.word == word
    assert found.code == {"could not tell": 4}.get(word, 1)
    assert any(part in found.cure for part in cure.split("|"))
    if reply is not None:
        assert any(reply in hit.reply for hit in found.hits)
        best = found.hits[0]
        assert best.fell <= best.of
        assert best.share >= 0.25
    lines = str(found).splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100


def test_the_matched_control_is_not_paid() -> None:
    best = contained().hits[0]
    assert best.control is not None
    assert (best.pay, best.control_pay) == (1.0, pytest.approx(0.0, abs=0.2))


@pytest.mark.parametrize(
    ("name", "rows", "kind"),
    [
        ("compute_score", VERL, "verl"), slow("compute_scores", VERL, "verl, in batches"), slow("waits", SUMS, "TRL"),
        ("reward_func", SUMS, "OpenRLHF"), ("one", SUMS, "one row"), slow("asks_for_all", SUMS, "TRL"),
        slow("in_words_of_ours", SUMS, "TRL"),
        slow("maker()", SUMS, "TRL"), slow("exact", VERL, "TRL"), slow("chatty", SUMS, "TRL"),
        slow("chatty_equal", SUMS, "TRL"),
    ],
)  # fmt: skip
def test_everyones_reward_is_called_unchanged(name: str, rows: Any, kind: str) -> None:
    if name == "exact":  # a text reward on rows of messages
        rows = [{"prompt": r["prompt"], "answer": r["reward_model"]["ground_truth"]} for r in rows]
    found = probed(name, rows)
    assert (found.word, found.signature, found.right) == ("nothing found", kind, 1.0)
    if name in ("exact", "chatty", "chatty_equal"):
        assert any("the other way" in note for note in found.notes)


@pytest.mark.slow
def test_the_hubs_columns_and_worked_references_are_read() -> None:
    rows = [{"question": r["question"], "answer": r["answer"].split("#### ")[1], "worked": r["answer"]} for r in HUB]
    assert probed("exact", rows).word == "nothing found"
    whole = probed("exact", HUB)  # the function compares with the whole solution
    assert whole.form is not None
    assert whole.form.worked


@pytest.mark.slow
def test_rewards_add_and_one_that_does_not_score_a_row_leaves_it_to_the_others() -> None:
    both = loopkit.probe([f"{MINE}:half", f"0.5*{MINE}:rest"], SUMS, search=0, rows=24)
    assert both.word == "nothing found"
    assert both.right is not None
    assert 0.5 < both.right < 1.0
    assert "noise" in Path(both.log).read_text()


def test_what_is_no_reward_is_refused_with_the_cure() -> None:
    for name, words in (("maker", "makes a reward"), ("TAGS", "tuple|str"), ("missing", "has no"), ("inside", "")):
        if words:
            with pytest.raises(UsageError) as error:
                probed(name)
            assert any(word in str(error.value) for word in words.split("|"))
    with pytest.raises(UsageError, match="--column"):
        probed("exact", [{"prompt": "x", "colour": "red"}])
    for spec in ("os:system", "builtins:len", "math:floor", "loopkit.nosuch:fn"):
        with pytest.raises(UsageError, match=r"my_rewards\.py:fn|path/to/file\.py:fn"):
            fingerprint(spec)


@pytest.mark.parametrize("name", [slow("hangs"), "ends", slow("raises")])
def test_a_reply_that_breaks_the_reward_is_named_and_the_rest_goes_on(name: str) -> None:
    found = probed(name, deadline=0.7)
    assert found.word == "nothing found"
    said = {"hangs": "'banana': hangs", "ends": "'?': ends", "raises": "the empty reply: raises"}[name]
    assert any(text.startswith(said) for text in found.breaks)


def test_the_budget_is_kept_and_what_it_left_out_is_listed() -> None:
    found = probed("exact", replies=600)
    assert found.replies <= 600
    assert "code" in found.left
    assert "want of budget" in str(found)


@pytest.mark.parametrize("name", ["polite", slow("quotes"), slow("reasons")])
def test_search_finds_a_fault_that_no_attack_names(name: str) -> None:
    found = loopkit.probe(f"{PLANTED}:{name}", SUMS, search=1500, code=False)
    assert (found.word, found.hits[0].kind) == ("gameable", "search")
    assert found.searched <= 1500


@pytest.mark.slow
@pytest.mark.parametrize("name", ["polite", "quotes", "reasons"])
def test_attacks_alone_do_not_find_it(name: str) -> None:
    assert loopkit.probe(f"{PLANTED}:{name}", SUMS, search=0, code=False).word == "nothing found"


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("file", "name"), [*((PLANTED, n) for n in planted.TRICKS), *((APART, n) for n in apart.NAMES)]
)
def test_planted_faults_are_found_and_no_twin_is_accused(file: Path, name: str) -> None:
    """3.5 seconds of CPU a fault and its twin, 140 for the 40."""
    rows = WORDY if name == "on_topic" else SUMS
    found = loopkit.probe(f"{file}:{name}", rows, code=False)
    assert found.word == ("nothing found" if name in UNFOUND else "gameable")
    assert loopkit.probe(f"{file}:{name}_twin", rows, code=False).word == "nothing found"


@pytest.mark.parametrize(
    "name", [n if n in ("refusal", "f1") else pytest.param(n, marks=pytest.mark.slow) for n in sound.ROWS]
)
def test_a_sound_reward_of_any_kind_is_not_accused(name: str) -> None:
    """2 seconds of CPU each, and 20 where replies are run as programs."""
    found = loopkit.probe(f"{SOUND}:{name}", sound.ROWS[name], search=4000 if name == "f1" else 500)
    assert (found.word, found.code, found.right) == ("nothing found", 0, 1.0)


def test_too_few_rows_are_said_with_how_many_would_do() -> None:
    found = probed("exact", SUMS[:4])
    assert (found.word, found.cure) == ("could not tell", "Give 20 rows or more.")


@pytest.mark.slow
def test_a_trusted_reward_says_what_is_wrong() -> None:
    rows = [{"prompt": r["prompt"], "answer": r["answer"]} for r in SUMS]
    found = probed("contained", rows, trusted=f"{MINE}:exact")
    assert found.word == "gameable"
    with pytest.raises(UsageError, match="no more than an ignorant"):
        probed("contained", rows, trusted=f"{MINE}:constant")


def test_a_package_with_relative_imports_is_loaded_from_anywhere(tmp_path: Path) -> None:
    package = tmp_path / "pkg" / "rewards"
    package.mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text("import not_installed_here\n")
    (tmp_path / "pkg" / "text.py").write_text("def plain(text):\n    return text.strip()\n")
    (package / "mine.py").write_text(
        "from ..text import plain\n\n\ndef fn(completions, answer, **kwargs):\n"
        "    return [float(plain(c) == a) for c, a in zip(completions, answer)]\n"
    )
    found = loopkit.probe(f"{package / 'mine.py'}:fn", SUMS, search=0, rows=10)
    assert found.word == "nothing found"


def test_patterns_of_the_code_are_turned_into_forms() -> None:
    assert forms(r"(?:final )?answer is:?\s*(\d+)") == ["answer is{}"]
    assert forms(r"^<a>\n(.*?)\n</a>$") == ["<a>\n{}\n</a>"]
    assert forms(r"\d+") == []
    assert forms("(") == []


def test_the_command_ends_with_the_verdicts_code_and_writes_a_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(r) + "\n" for r in SUMS))
    probe = ["probe", "--data", str(rows), "--search", "0", "--rows", "12"]
    card = str(tmp_path / "card.md")
    with pytest.raises(SystemExit) as ended:
        main([*probe, "--reward", f"{MINE}:contained", "--card", card])
    assert (ended.value.code, capsys.readouterr().out.split(":")[0]) == (1, "gameable")
    assert "matched control" in Path(card).read_text()
    with pytest.raises(SystemExit) as ended:
        main([*probe, "--reward", f"{MINE}:exact", "--json"])
    assert ended.value.code == json.loads(capsys.readouterr().out)["exit_code"] == 0
