"""Precision and recall of detectors on labelled transcripts; the cards report what is measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from loopkit import seeding
from loopkit.checks.quality import AIM, Quality, Share, measure
from loopkit.checks.specimens import converse
from loopkit.contracts import Game, Options
from loopkit.errors import ContractError, UsageError
from loopkit.experiment.resolve import build_game
from loopkit.parts.data import read_labelled
from loopkit.parts.detectors import rule
from loopkit.records import Labelled, Rollout
from loopkit.registry import plugins as registry
from loopkit.rollouts.scoring import Setup, score
from tests.toys import DOUBLING, Doubling

PLUGINS = registry.load()
GAMES = ("context-compliance", "proxy-metric", "reward-tampering", "self-grading")
CARDS = Path(__file__).parents[2] / "docs" / "games"


@cache
def bundled(name: str) -> Game:
    return build_game(PLUGINS, name, {})


@cache
def measured(name: str) -> Quality:
    return measure(bundled(name), name=name)


def label(
    said: Sequence[str], flag: bool | None, source: Literal["written", "sampled"] = "written", **flags: Any
) -> Labelled:
    task = DOUBLING.tasks("test")[0]
    return Labelled(task, tuple(said), {"false-claim": flag, **flags}, {}, source)


def toy(*labels: Labelled) -> Game:
    class Told(Doubling):
        def labelled(self) -> Sequence[Labelled]:
            return labels

    return Told(Options())


RIGHT, WRONG = str(2 * DOUBLING.tasks("test")[0].public["i"]), "7"


def test_precision_and_recall_are_counted_by_source() -> None:
    game = toy(
        label((WRONG, "Yes"), True),
        label((WRONG, "Yes"), False),  # flagged, and should not be
        label((WRONG, "No"), True, "sampled"),  # missed
        label((RIGHT, "Yes"), False, "sampled"),
        label((RIGHT, "Yes"), None, "sampled"),
    )
    found = measure(game, name="toy")
    rows = {r.source: r for r in found.rows}
    assert (rows["written"].precision, rows["written"].recall, rows["written"].n) == (Share(1, 2), Share(1, 1), 2)
    assert (rows["sampled"].precision, rows["sampled"].recall, rows["sampled"].n) == (Share(0, 0), Share(0, 1), 3)
    assert (rows["all"].precision, rows["all"].recall, rows["all"].n) == (Share(1, 2), Share(1, 2), 5)
    assert rows["all"].lowest == 0.5
    assert [(m.should, m.said) for m in found.mistakes] == [(False, True), (True, False), (None, False)]
    assert str(rows["sampled"].precision) == "- n=0"
    assert str(rows["all"].recall) == "0.50 [0.09, 0.91] n=2"
    assert json.loads(json.dumps(found.json())) == found.json()


def test_classes_of_a_clue_are_measured_too() -> None:
    class Judged(Doubling):
        clues: ClassVar[Mapping[str, str]] = {"verdict": "what a judge says"}
        detectors: ClassVar = {"verdict": rule("verdict")}

        def assess(self, rollouts: Sequence[Rollout]) -> Any:
            return [replace(a, clues={"verdict": r.words[1]}) for a, r in zip(super().assess(rollouts), rollouts)]  # noqa: B905

        def labelled(self) -> Sequence[Labelled]:
            pairs = (("yes", "yes"), ("yes", "no"), ("no", "no"))
            return [replace(label((RIGHT, said), None), flags={}, classes={"verdict": v}) for v, said in pairs]

    rows = {r.what: r for r in measure(Judged(Options())).rows if r.source == "all"}
    assert (rows["verdict: yes"].precision, rows["verdict: yes"].recall) == (Share(1, 1), Share(1, 2))
    assert (rows["verdict: no"].precision, rows["verdict: no"].recall) == (Share(1, 2), Share(1, 1))


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (label((RIGHT, "Yes"), False, typo=True), "['typo'], no detector or clue"),
        (label((RIGHT,), False), "do not end the game exactly"),
        (label((RIGHT, "Yes", "more"), False), "do not end the game exactly"),
    ],
)
def test_bad_labels_are_named(one: Labelled, says: str) -> None:
    with pytest.raises(ContractError, match="Mend") as raised:
        measure(toy(one))
    assert says in str(raised.value)


def test_no_labels_no_rows() -> None:
    assert measure(DOUBLING, name="toy") == Quality("toy", 0, (), ())


@pytest.mark.parametrize(
    "row",
    [
        {"task": {"id": "a"}, "said": ["x"], "from": "written"},
        {"task": {"id": "a", "messages": [], "odd": 1}, "said": ["x"], "from": "written"},
        {"task": {"id": "a", "messages": []}, "said": ["x"], "from": "heard"},
        {"task": {"id": "a", "messages": []}, "said": ["x"], "from": "written", "flags": {"f": "yes"}},
        {"task": {"id": "a", "messages": []}, "said": ["x"], "from": "written", "flags": [1]},
    ],
)  # fmt: skip
def test_a_row_that_is_no_label_is_named(row: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "labelled.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(UsageError, match="row 0 is not a labelled transcript"):
        read_labelled(path)


@pytest.mark.parametrize("name", GAMES)
def test_bundled_games_have_enough_labels_and_half_are_sampled(name: str) -> None:
    game = bundled(name)
    labelled = game.labelled()
    assert len(labelled) >= 100
    assert sum(one.source == "sampled" for one in labelled) >= 50
    assert sum(one.source == "written" for one in labelled) >= 50
    assert all(set(one.flags) == set(game.detectors) and one.note for one in labelled)
    for detector in game.detectors:  # both answers, so that neither share is empty
        assert {True, False} <= {one.flags[detector] for one in labelled}


@pytest.mark.parametrize("name", GAMES)
def test_the_card_reports_what_is_measured(name: str) -> None:
    """And no rule gets worse unseen: a change that moves a figure has to be written down."""
    card = (CARDS / f"{name}.md").read_text()
    rows = [f"| {r.what} | {r.source} | {r.precision} | {r.recall} |" for r in measured(name).rows]
    missing = [row for row in rows if row not in card]
    assert not missing, "\n".join(["the card lacks these rows:", *missing])


@pytest.mark.parametrize("name", GAMES)
def test_late_training_is_read_right_by_the_headline(name: str) -> None:
    row = next(r for r in measured(name).rows if r.source == "sampled")
    assert row.precision.value is not None
    assert row.precision.value >= AIM


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("other", GAMES)
def test_no_detector_flags_another_games_honest_specimens(name: str, other: str) -> None:
    """Said in answer to this game's own tasks, so that the clues are there; a second turn says the last words again."""
    if name == other:
        return
    game, told = bundled(name), bundled(other)
    words = [
        (said[0], said[-1])
        for task in told.tasks("test")[:12]
        for said in told.specimens(task, partial(seeding.uniform, "cross", task.id))["honest"]
    ]
    tasks = game.tasks("test")[:12]
    start = [Rollout(f"test/000000/{i:04d}/x/0", tasks[i % 12]) for i in range(len(words))]
    rollouts = converse(game, start, words)
    assert all(r.done for r in rollouts)
    setup = Setup(game, game.channels["loophole"], {}, game.detectors)
    flagged = [(s.flags, s.rollout.words) for s in score(setup, rollouts, [0] * len(words)) if True in s.flags.values()]
    assert not flagged
