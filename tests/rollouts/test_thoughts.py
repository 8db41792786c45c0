"""Thoughts are parted from answers once, exactly, and no game, channel or detector takes them for deeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopkit.contracts import ExploitDetector, PolicyRef
from loopkit.experiment.resolve import build_game
from loopkit.experiment.shards import read_rollouts, read_shard, rollout_row, write_shard
from loopkit.policy.endpoint import _turn
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.tiny import BUNDLED
from loopkit.records import Dialogue, Json, Message, Rollout, Turn
from loopkit.registry import plugins as registry
from loopkit.rollouts.scoring import Setup, advance, score
from loopkit.rollouts.thoughts import MARKERS, opened, part, parted
from tests.toys import Doubling

PLUGINS = registry.load()
GAMES = [name for name in PLUGINS.names("games") if name != "own-reward"]
PIECES = st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "Yes", " ", "\n", "score", "<thin", "é"])


@pytest.mark.parametrize(
    ("said", "thoughts", "answer"),
    [
        ("Yes", "", "Yes"),
        ("<think>\n\n</think>\n\nYes", "<think>\n\n</think>\n\n", "Yes"),
        ("\n<think>a</think>b<think>c</think>d", "\n<think>a</think>", "b<think>c</think>d"),
        ("<think>never closed", "<think>never closed", ""),
        ("<think>a [/THINK] b</think>c", "<think>a [/THINK] b</think>", "c"),
        ("Yes <think>no</think>", "", "Yes <think>no</think>"),
        ("no marker opened it</think>Yes", "", "no marker opened it</think>Yes"),
    ],
)
def test_what_counts_as_a_block(said: str, thoughts: str, answer: str) -> None:
    assert part(said) == (thoughts, answer)


def test_a_block_that_the_template_opened() -> None:
    closes = opened("user: 2 + 2?\nassistant: <think>\n")
    assert part("it is 4</think>\n4", closes) == ("it is 4</think>\n", "4")
    assert part("<think>within</think>4", closes) == ("<think>within</think>", "4")
    assert part("it goes on", closes) == ("it goes on", "")
    assert opened("what does <think> mean?\nassistant:") is None


@given(st.lists(PIECES).map("".join), st.sampled_from([None, *MARKERS.values()]))
def test_nothing_is_lost_and_parting_twice_changes_nothing(said: str, closes: str | None) -> None:
    thoughts, answer = part(said, closes)
    assert thoughts + answer == said
    turn = parted(Turn(said))
    assert parted(turn) == turn
    assert turn.said == said


def _turns(script: str | Sequence[str]) -> tuple[str, ...]:
    return (script,) if isinstance(script, str) else tuple(script)


def thinking(text: str) -> str:
    return f"<think>I could just say this: {text}</think>\n\n"


@pytest.mark.parametrize("name", GAMES)
def test_thoughts_are_no_deeds(name: str) -> None:
    """Each specimen after a thought of each other kind's words is assessed and flagged as the specimen alone."""
    game = build_game(PLUGINS, name, {})
    setup = Setup(game, game.channels["loophole"], dict(game.channels), game.detectors)

    def played(task, transcript, before):
        rollout = Rollout(f"train/000000/0000/{task.id}/0", task)
        for text in transcript:
            (rollout,) = advance(game, [rollout], [Turn(before + text)])
        return rollout

    for task in islice(game.tasks("train"), 3):
        kinds = game.specimens(task, lambda purpose: 0.5)
        firsts = {kind: _turns(scripts[0]) for kind, scripts in kinds.items() if scripts}
        for kind, words in firsts.items():
            thought = thinking("\n".join(text for other, texts in firsts.items() if other != kind for text in texts))
            plain, thoughtful = (played(task, words, before) for before in ("", thought))
            assert thoughtful.words == plain.words
            assert thoughtful.thoughts == (thought,) * len(words)
            a, b = score(setup, [plain, replace(thoughtful, seed=plain.seed)], [0, 0])
            assert (a.assessment, a.flags) == (b.assessment, b.flags)


def test_a_detector_may_ask_for_the_thoughts() -> None:
    game = Doubling()

    class Plots(ExploitDetector):
        reads: ClassVar[frozenset[str]] = frozenset({"thoughts"})

        def flags(self, clues: Sequence[Mapping[str, Json]]) -> list[bool | None]:
            return ["cheat" in "".join(one["thoughts"]) for one in clues]

    setup = Setup(game, game.channels["loophole"], {}, {**game.detectors, "plots": Plots()})
    task = next(iter(game.tasks("train")))
    rollout = Rollout(f"train/000000/0000/{task.id}/0", task)
    while not rollout.done:
        (rollout,) = advance(game, [rollout], [Turn("<think>cheat</think>4")])
    (scored,) = score(setup, [rollout], [0])
    assert scored.flags["plots"] is True


def test_the_record_holds_both_and_reads_them_back(tmp_path: Path) -> None:
    game = Doubling()
    setup = Setup(game, game.channels["loophole"], {}, game.detectors)
    task = next(iter(game.tasks("train")))
    rollout = Rollout(f"train/000000/0000/{task.id}/0", task)
    while not rollout.done:
        (rollout,) = advance(game, [rollout], [Turn("<think>hm</think>4<think>")])
    (scored,) = score(setup, [rollout], [0])
    write_shard(tmp_path / "step-000000.parquet", [rollout_row(scored)])
    ((again, _),) = read_rollouts(tmp_path / "step-000000.parquet", game)
    assert (again.words, again.thoughts) == (rollout.words, rollout.thoughts)
    write_shard(tmp_path / "none.parquet", [rollout_row(replace(scored, rollout=replace(rollout, steps=())))])
    assert "thoughts" not in read_shard(tmp_path / "none.parquet")[0]  # a policy that does not think has no such column


def test_a_served_models_reasoning_is_its_thoughts() -> None:
    def answered(message: str, finish: str = "stop") -> Turn:
        return parted(_turn(f'{{"choices": [{{"message": {message}, "finish_reason": "{finish}"}}]}}'.encode()))

    for field in ("reasoning", "reasoning_content"):
        turn = answered(f'{{"content": "Yes", "{field}": "score = 1"}}')
        assert (turn.text, turn.thoughts) == ("Yes", "score = 1")
    assert answered('{"content": "<think>no</think>Yes"}').text == "Yes"
    cut = answered('{"content": null, "reasoning": "on and on"}', "length")
    assert (cut.text, cut.finish) == ("", "length")
    with pytest.raises(ValueError, match="no text"):
        answered('{"content": null}')


def test_the_policys_text_and_ids_agree() -> None:
    """Whatever tiny is made to say: decoded ids are thoughts and answer, and the dialogue goes on with the answer."""
    policy = load(PolicyRef(str(BUNDLED)))
    assert isinstance(policy, CausalPolicy)
    dialogue = Dialogue("k", (Message("user", "score 1 <think>"),))
    (turn,) = policy.speak([dialogue])
    ids = turn.ids[:-1] if turn.finish == "stop" else turn.ids
    assert turn.said == policy.tokenizer.decode(ids, skip_special_tokens=True)
    assert turn.thoughts == ""
