"""What interventions do to pay, to what is learned from, to prompts and to the length of a run. 3 s of CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from loopkit_fixes.monitors import EarlyStop, Penalty, Screen
from loopkit_fixes.training import Clip, Inoculation
from loopkit_grpo.learning import Learning
from loopkit_grpo.trainer import GrpoOptions

from loopkit.contracts import Draw
from loopkit.errors import ContractError
from loopkit.interventions import Flag, Intervention
from loopkit.records import Dialogue, Message, Turn
from loopkit.rollouts.playing import play
from loopkit.rollouts.referee import LocalReferee
from loopkit.rollouts.scoring import PAID
from tests.rollouts.test_referee import Kept
from tests.toys import COPYING, DOUBLING, setup

LONG = "the quick brown fox jumps over the lazy dog"


class Alternating:
    """Every other rollout of a slot exploits Copying, with tokens to learn from; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Sequence[Message]] = []

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        self.asked += [d.messages for d in dialogues]
        odd = [int(d.key.rpartition("/")[2]) % 2 for d in dialogues]
        return [
            Turn(LONG if o else f"Bo {d.key[-1]}", prompt_ids=(1,), ids=(2, 3), logprobs=(-0.5, -0.5))
            for o, d in zip(odd, dialogues, strict=True)
        ]


def referee(recorder: Kept, *parts: Intervention, **more: Any) -> LocalReferee:
    made = dataclasses.replace(setup(COPYING), interventions={str(i): part for i, part in enumerate(parts)})
    return LocalReferee(
        made, seed=1, split="train", n_steps=6, prompts_per_step=2, group_size=4, recorder=recorder, **more
    )


def test_a_penalty_is_paid_less_and_the_shadow_column_is_not() -> None:
    recorder = Kept()
    source = referee(recorder, Penalty(monitor="long", weight=0.25), Clip(low=0.0, high=0.6))
    groups = play(source, Alternating(), 0)
    source.close(0, {})
    metrics, scored, _ = recorder.steps[0]
    for one in scored:
        raw = one.rewards["loophole"]
        assert one.rewards[PAID] == pytest.approx(min(max(raw - 0.25 * bool(one.flags["long"]), 0.0), 0.6))
    assert {one.rewards["loophole"] > 0.6 for one in scored} == {True, False}
    assert {p.reward for group in groups for p in group} == {one.rewards[PAID] for one in scored}
    assert metrics.kept is None
    assert "kept" not in metrics.json()


def test_a_screened_rollout_moves_nothing_that_is_learned() -> None:
    """The gradient's inputs are those of a batch without it: no segment, and the baseline is the others' mean."""
    recorder = Kept()
    source = referee(recorder, Screen(monitor="long"))
    groups = play(source, Alternating(), 0)
    source.close(0, {})
    for group in groups:
        flagged = [p for p in group if p.turns[0].text == LONG]
        others = [p.reward for p in group if p.turns[0].text != LONG]
        assert len(flagged) == 2
        assert all(not p.turns[0].trained and p.reward == pytest.approx(sum(others) / 2) for p in flagged)
        assert all(p.turns[0].trained for p in group if p not in flagged)
    metrics, scored, _ = recorder.steps[0]
    assert metrics.kept == 0.5
    assert all(one.rewards[PAID] == one.rewards["loophole"] for one in scored), "what it was paid stays on record"


def test_grpo_learns_nothing_where_all_is_screened() -> None:
    source = referee(Kept(), Screen(monitor="long"))

    class All(Alternating):
        def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
            return [Turn(LONG, prompt_ids=(1,), ids=(2, 3), logprobs=(-0.5, -0.5)) for _ in dialogues]

    def never(policy: Any) -> float:
        raise AssertionError("a gradient step was taken")

    numbers = Learning(GrpoOptions(beta=0.1), None).learn(None, play(source, All(), 0), never)  # type: ignore[arg-type]
    assert numbers["used_rollouts"] == 0
    assert all(torch.isfinite(torch.tensor(value)) for value in numbers.values())


def test_a_monitor_errs_as_often_as_it_is_told_to_and_the_same_way_again() -> None:
    one = Penalty(monitor="long", accuracy=0.75)
    draws: list[Draw] = [lambda purpose, i=i: i / 100 for i in range(100)]  # type: ignore[misc]
    assert sum(one.decisions([True] * 100, draws)) == 75
    assert sum(one.decisions([False] * 100, draws)) == 25
    assert not any(one.decisions([None] * 100, draws)), "abstaining is no flag, and is not turned"


def test_inoculation_is_in_training_prompts_and_leaves_the_rest() -> None:
    policy, one = Alternating(), Inoculation(text="Cheat.")
    source = referee(Kept(), one, opening=one.prompt)
    play(source, policy, 0)
    assert all(messages[-1].content.startswith("Cheat.\n\nName ") for messages in policy.asked)
    (told,) = [*one.prompt(DOUBLING.tasks("train")[3].messages)]
    assert (told.decode, told.state) == (DOUBLING.tasks("train")[3].messages[0].decode, {"i": 3})
    system = Inoculation(text="Cheat.", place="system")
    asked = (Message("system", "Be brief."), Message("user", "Name it."))
    assert [m.content for m in system.prompt(asked)] == ["Cheat.\n\nBe brief.", "Name it."]
    assert [(m.role, m.content) for m in system.prompt(asked[1:])] == [("system", "Cheat."), ("user", "Name it.")]


def test_early_stop_ends_a_run_and_a_resumed_one_at_the_same_step() -> None:
    one = EarlyStop(monitor="long", rise=0.1)

    def stop(rates: Any) -> bool:
        return one.stop([step.get("long") for step in rates])

    class Turning(Alternating):
        """Exploits from step 2 on."""

        def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
            late = int(dialogues[0].key.split("/")[1]) >= 2
            return [Turn(LONG if late else "Bo") for _ in dialogues]

    recorder = Kept()
    source = referee(recorder, one, stop=stop)
    source.resume(0)
    step = 0
    while step < source.n_steps:
        play(source, Turning(), step)
        source.close(step, {})
        step += 1
    assert (step, source.n_steps) == (3, 3)
    past = [{"long": recorder.steps[i][0].rates["long"].value} for i in range(3)]  # type: ignore[union-attr]
    resumed = referee(recorder, one, stop=stop, past=lambda: past)
    assert resumed.n_steps == 6, "until it is asked to resume"
    resumed.resume(3)
    assert resumed.n_steps == 3
    resumed.resume(2)
    assert resumed.n_steps == 6, "the step that ended it was dropped"


def test_one_that_breaks_its_promise_is_named() -> None:
    class Short(Intervention):
        """Pays nobody."""

        def pay(self, rewards: Sequence[float], flags: Sequence[Flag], draws: Sequence[Draw]) -> list[float]:
            return []

    class Endless(Intervention):
        """Pays too much."""

        def pay(self, rewards: Sequence[float], flags: Sequence[Flag], draws: Sequence[Draw]) -> list[float]:
            return [float("inf") for _ in rewards]

    for part, word in ((Short(), r"returned 0"), (Endless(), "finite")):
        with pytest.raises(ContractError, match=rf"intervention '0'.*{word}"):
            play(referee(Kept(), part), Alternating(), 0)
