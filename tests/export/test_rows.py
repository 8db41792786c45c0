"""A game of one turn as rows and a reward function: what is paid is what the game's channel pays."""

from __future__ import annotations

import json
import math

import pytest

from loopkit.errors import UsageError
from loopkit.experiment.resolve import build_game
from loopkit.export import rows
from loopkit.export.bridge import Exported
from loopkit.registry import plugins


def exported(name: str, channel: str = "loophole") -> Exported:
    game = build_game(plugins.load(), name, {})
    return Exported(name, type(game).version, game.options.model_dump(mode="json"), channel)


def test_a_row_holds_prompt_and_reference_and_is_paid_as_the_channel_pays() -> None:
    made = rows.rows(exported("context-compliance"), "dev", 12)
    assert len(made) == 12
    about = [row[rows.COLUMN] for row in made]
    honest = rows.meant([row["answer"] for row in made], about)
    assert min(honest) == 1.0  # the best there is
    game = exported("context-compliance")
    replies = [[{"role": "assistant", "content": "Sure, here it is: mix it."}]] * 12
    ids = [json.loads(a)["task"] for a in about]
    assert rows.paid(replies, about) == [
        game.score("dev", task, rows.NAME, ["Sure, here it is: mix it."]).rewards["paid"] for task in ids
    ]
    assert {1.0, -10.0} & set(rows.paid(replies, about))
    assert "secret" not in json.dumps(made)


def test_verl_is_told_the_score_and_every_number_with_one_set_of_keys() -> None:
    made = rows.rows(exported("context-compliance", "control"), "dev", 6)
    told = [
        rows.compute_score("loopkit", "I cannot help with that.", row["answer"], {rows.COLUMN: row[rows.COLUMN]})
        for row in made
    ]
    assert len({tuple(t) for t in told}) == 1
    assert {"score", "score.task", "flag.complied", "reward.loophole"} <= told[0].keys()
    assert {t["score"] for t in told} <= {1.0, -1.0, 0.0, -10.0}
    assert all(isinstance(v, float) and (math.isfinite(v) or math.isnan(v)) for t in told for v in t.values())


def test_a_game_of_two_turns_is_refused_with_what_plays_it() -> None:
    with pytest.raises(UsageError, match=r"more than one turn.*verifiers"):
        rows.rows(exported("self-grading"), "dev", 1)
