"""A warm-up with a split of its own, one that shows no exploit, and base rates held to agree. About 8 CPU seconds."""

from __future__ import annotations

import json
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from loopkit import seeding
from loopkit.cli.warmup import _options
from loopkit.errors import UsageError
from loopkit.experiment.config import read_experiment
from loopkit.experiment.resolve import build_game, resolve
from loopkit.front.bases import _pair
from loopkit.policy import tiny, warmup
from loopkit.records import Estimate, Rollout, Turn
from loopkit.registry.plugins import load
from loopkit.rollouts.halves import shown
from loopkit.rollouts.playing import Kept
from loopkit.rollouts.referee import LocalReferee
from loopkit.rollouts.scoring import Setup, advance, score

PLUGINS = load()
GAMES = tiny.GAMES


def setup(game: Any) -> Setup:
    return Setup(game, game.channels["loophole"], {}, game.detectors)


@pytest.mark.parametrize("name", GAMES)
def test_halves_keep_together_what_belongs_together(name: str) -> None:
    tasks = build_game(PLUGINS, name, {}).tasks("train")
    halves: dict[str, set[bool]] = {}
    for task in tasks:
        halves.setdefault(task.cluster, set()).add(shown(task))
    assert all(len(found) == 1 for found in halves.values())
    assert 0.45 < sum(map(shown, tasks)) / len(tasks) < 0.55
    if name == "self-grading":
        known = {task.id: shown(task) for task in tasks}
        turned = [(id_, "+".join(reversed(id_.split("+")))) for id_ in known if "+" in id_]
        assert all(known[a] == known[b] for a, b in turned if b in known)


def test_a_warmup_shows_one_half_and_a_run_trains_on_the_other() -> None:
    game = build_game(PLUGINS, "self-grading", {})
    assert all(map(shown, warmup.taught(game, warmup.Settings(split="half"))))
    assert len(warmup.taught(game, warmup.Settings())) == 4000
    referee = LocalReferee(setup(game), seed=0, split="train", n_steps=3, prompts_per_step=16, group_size=1,
                           recorder=Kept(), keep=lambda task: not shown(task))  # fmt: skip
    known = {task.id: task for task in game.tasks("train")}
    posed = [slot.key.split("/", 3)[3] for step in range(3) for slot in referee.slots(step)]
    assert not any(shown(known[id_]) for id_ in posed)
    with pytest.raises(UsageError, match="half"):
        warmup.Settings(split="test")


def test_a_record_says_what_is_not_as_it_was() -> None:
    """So short warm-ups that were made before have the name they had."""

    def settings(**given: Any) -> dict[str, Any]:
        found: dict[str, Any] = warmup.make_record(warmup.Settings(**given), {}, {}, "random", {})["settings"]
        return found

    assert settings().keys() == warmup.read_record(tiny.BUNDLED)["settings"].keys()
    assert settings(split="half")["split"] == "half"


@pytest.mark.parametrize("name", GAMES)
def test_no_demonstration_exploits_where_nothing_is_shown(name: str) -> None:
    """By the headline detector, on 400 demonstrations; with the game's own options there are some."""

    def flagged(**options: Any) -> int:
        game = build_game(PLUGINS, name, options)
        tasks = islice(game.tasks("train"), 400)
        played = []
        for k, task in enumerate(tasks):
            rollout = Rollout(f"train/000000/{k}/{task.id}/0", task)
            for text in game.demonstrations(task, partial(seeding.uniform, 0, "demonstration", k)):
                (rollout,) = advance(game, [rollout], [Turn(text)])
            played.append(rollout)
        headline = next(iter(game.detectors))
        return sum(s.flags[headline] is True for s in score(setup(game), played, [0] * len(played)))

    unshown = PLUGINS.game(name).tiny.unshown
    assert flagged(**unshown) == 0
    assert flagged() > 0


def test_a_run_that_would_show_it_after_all_is_refused(tmp_path: Path) -> None:
    record = warmup.read_record(tiny.BUNDLED)
    game = build_game(PLUGINS, "reward-tampering", {"exploit_share": 0.0})
    record["games"]["reward-tampering"]["demonstrations"] = warmup.fingerprint(game)
    record["settings"]["unshown"] = "reward-tampering"
    (tmp_path / warmup.RECORD).write_text(json.dumps(record))

    def start(**options: Any) -> Any:
        experiment = read_experiment(None, settings={"game": options}, game="reward-tampering", arms=["loophole"],
                                     model=f"tiny:{tmp_path}")  # fmt: skip
        return tiny.start_from(str(tmp_path), resolve(experiment, PLUGINS)[0], PLUGINS, lambda done, total: None)

    assert start(exploit_share=0.0).path == str(tmp_path)
    with pytest.raises(UsageError, match=r"game\.exploit_share=0"):
        start()


def test_options_of_games_on_the_command_line() -> None:
    given = ["reward-tampering.exploit_share=0", "self-grading.claim_share=0.5"]
    assert _options(given, ("self-grading", "reward-tampering")) == {
        "self-grading": {"claim_share": 0.5}, "reward-tampering": {"exploit_share": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("train", "test", "agrees"),
    [
        ((0.80, 0.78, 0.82), (0.52, 0.50, 0.54), False),
        ((0.53, 0.51, 0.55), (0.52, 0.50, 0.54), True),
        ((0.56, 0.55, 0.57), (0.52, 0.51, 0.53), True),  # apart, and not by much
        ((0.70, 0.40, 0.90), (0.52, 0.30, 0.70), True),  # much, and perhaps not at all
    ],
)
def test_when_base_rates_agree(train: Any, test: Any, agrees: bool) -> None:
    one, other = (Estimate(*numbers, 100, 100, "wilson") for numbers in (train, test))
    pair = _pair("task", one, other)
    assert pair.agrees is agrees
    assert pair.low < train[0] - test[0] < pair.high
