"""A card holds what was measured and says what was not, in every form; ours are as the code says (about 12 CPU s)."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from loopkit.errors import UsageError
from loopkit.front import carded
from loopkit.report import card_pages, cards
from loopkit.report.cards import Card
from tests.test_cli import call, one_paragraph  # noqa: F401
from tools import cards as ours

ROOT = Path(__file__).parents[2]
MEASURED = ours.CARDS / "context-compliance.json"
REWARD = """
def passes(completions, answer, **kwargs):
    return [1.0 if a in text else 0.0 for text, a in zip(completions, answer)]
"""


@pytest.fixture(scope="module")
def bare() -> Card:
    """Of a game of two turns, with neither model nor training."""
    return carded.card("self-grading", probe=False)


@pytest.fixture
def whole() -> Card:
    return cards.read(MEASURED.read_bytes(), MEASURED.name)


def test_the_cards_of_the_documentation_are_as_the_code_and_the_records_say() -> None:
    assert ours.stale() == []
    assert sorted(ours.names_of_contrib()) == sorted(ours.CONTRIB)
    schema = json.loads(ours.SCHEMA.read_text(encoding="utf-8"))
    for file in ours.CARDS.glob("*.json"):
        jsonschema.validate(json.loads(file.read_bytes()), schema)


def test_a_change_of_code_makes_a_card_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "code_of", lambda name: "0" * 16)
    monkeypatch.setattr(ours, "made", lambda: iter(()))
    assert len(ours.stale()) == len(ours.BUNDLED) + len(ours.CONTRIB)


def test_what_is_measured_again_is_what_the_card_of_the_documentation_says(bare: Card) -> None:
    kept = cards.read((ours.CARDS / "self-grading.json").read_bytes(), "self-grading.json")
    for part in ("contract", "pay", "detectors"):
        assert getattr(bare, part) == getattr(kept, part)
    assert bare.subject == kept.subject


def test_what_was_not_measured_is_said_in_every_form_with_the_cure(bare: Card) -> None:
    missing = dict(bare.missing)
    assert missing.keys() == {"base_rates", "probe", "training"}
    assert "--model" in missing["base_rates"]
    assert "--results" in missing["training"]
    for text in (card_pages.markdown(bare), card_pages.page(bare)):
        for part, why in missing.items():
            assert cards.PARTS[part] in text
            assert why.split(".")[0] in text.replace("&#39;", "'")
    assert "blind spot" not in card_pages.badge(bare)


def test_every_rate_has_its_n_and_interval(whole: Card) -> None:
    text = card_pages.markdown(whole)
    after = text.partition("## Base rates")[2]
    cells = [c.strip() for line in after.splitlines() if line.startswith("|") for c in line.strip("|").split("|")]
    rates = [c for c in cells if re.match(r"-?\d+\.\d \[", c)]
    assert len(rates) > 20
    assert all(re.fullmatch(r"-?\d+\.\d \[(-?\d+\.\d, -?\d+\.\d|withheld)\] n=\d+", c) for c in rates)
    assert "points" in text  # what the seeds could have shown


def test_a_hostile_reply_is_text_in_every_form(whole: Card) -> None:
    evil = '<script>alert(1)</script> | [x](javascript:1) </title>\u202e\x1b[0m"'
    trick = whole.probe.tricks[0].model_copy(update={"reply": evil})  # type: ignore[union-attr]
    hit = whole.model_copy(update={
        "probe": whole.probe.model_copy(update={"tricks": (trick,), "word": "gameable"}),
        "subject": whole.subject.model_copy(update={"name": evil, "title": evil}),
    })  # fmt: skip
    page, text = card_pages.page(hit), card_pages.markdown(hit)
    assert "<script>alert" not in page
    assert "<script>alert" not in text.replace("\\<", "")
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    for made in (page, text):
        assert not {"\u202e", "\x1b"} & set(made)
    ET.fromstring(card_pages.badge(hit))


def test_the_page_loads_nothing_and_the_badge_is_an_image(whole: Card) -> None:
    page = card_pages.page(whole)
    assert "default-src &#39;none&#39;" in page
    assert re.findall(r"(?:src|href)=[\"'](?!data:)", page) == []
    (title,) = [e.text for e in ET.fromstring(card_pages.badge(whole)) if e.tag.endswith("title")]
    assert title == f"loopkit: {cards.status(whole)[0]}"
    assert "proven" in title


def test_a_reward_is_carded_with_its_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(REWARD)
    Path("rows.jsonl").write_text("".join(
        json.dumps({"prompt": f"What is {k} + {k}?", "answer": str(2 * k)}) + "\n" for k in range(20, 60)
    ))  # fmt: skip
    made = carded.card(reward="mine.py:passes", data="rows.jsonl")
    assert made.probe.word == "gameable"  # type: ignore[union-attr]
    assert made.probe.tricks[0].rows.n > 0  # type: ignore[union-attr]
    assert {"contract", "detectors", "training"} <= dict(made.missing).keys()
    assert cards.status(made) == ("gameable", "bad")
    before = made.subject.hash
    Path("mine.py").write_text(REWARD.replace("1.0", "2.0"))
    assert carded._hash("mine.py:passes") != before


def test_the_command_writes_four_files(call: Any) -> None:  # noqa: F811
    done = call("card", "self-grading", "--no-probe", "--out", "made")
    assert done.code == 0, done.err
    assert sorted(p.name for p in Path("made").iterdir()) == [f"self-grading{s}" for s in sorted(card_pages.FORMS)]
    assert "Not measured: training" in " ".join(done.out.split())
    assert max(map(len, done.out.splitlines())) <= 100
    read = cards.read(Path("made/self-grading.json").read_bytes(), "x")
    assert read.contract.status == "proven"  # type: ignore[union-attr]
    assert json.loads(call("card", "--schema").out)["title"] == "Card"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("one game or one reward", "--reward")),
        (("self-gradin",), ("self-gradin", "Did you mean")),
        (("self-grading", "--reward", "a.py:b"), ("one game or one reward",)),
        (("self-grading", "--trusted", "a.py:b"), ("--trusted", "--reward")),
        (("self-grading", "--prompts", "5"), ("--prompts", "--model")),
        (("self-grading", "--results", "none.json"), ("none.json", "loopkit run")),
        (("self-grading", "--no-probe", "--results", str(ROOT / "results/first-game.json")), ("Compare", "Leave it")),
    ],
)
def test_what_is_not_understood_is_refused_with_the_cure(call: Any, arguments: Any, parts: Any) -> None:  # noqa: F811
    one_paragraph(call("card", *arguments), 2, *parts)


def test_a_file_that_is_no_card_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"other\.json.*loopkit card"):
        cards.read('{"schema_version": 1}', "other.json")
