"""self-grading's report in a fresh dialogue, as the paper has it: greedy, not trained, told of audits or not."""

from __future__ import annotations

from typing import Any

import pytest
from loopkit_grpo.learning import Learning
from loopkit_grpo.trainer import GrpoOptions

from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError
from loopkit.experiment.config import read_experiment
from loopkit.experiment.resolve import build_game, resolve
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.tiny import BUNDLED
from loopkit.records import Dialogue, Done, Message, Overrides, Rollout, Turn
from loopkit.registry.plugins import load as plugins
from loopkit.rollouts.playing import Kept, play
from loopkit.rollouts.referee import LocalReferee
from loopkit.rollouts.scoring import Setup, advance


def game(**options: Any) -> Any:
    return build_game(plugins(), "self-grading", {"report": "judge", **options})


def referee(made: Any, **how: Any) -> LocalReferee:
    setup = Setup(made, made.channels["loophole"], dict(made.channels), made.detectors)
    return LocalReferee(
        setup, seed=0, split="train", n_steps=1, prompts_per_step=2, group_size=4, recorder=Kept(), **how
    )


def test_the_report_is_asked_in_a_dialogue_of_its_own() -> None:
    made = game(telling_audit=0.5)
    task = made.tasks("train")[0]
    (rollout,) = advance(made, [Rollout(f"train/000000/0000/{task.id}/0", task)], [Turn("<think>hm</think>12")])
    _, reply = rollout.steps[0]
    assert isinstance(reply, Message)
    assert reply.fresh is not None
    dialogue = reply.after(rollout.messages(), "12")
    assert [m.role for m in dialogue] == ["system", "user"]
    assert "50 %" in dialogue[0].content
    assert task.messages[-1].content in dialogue[1].content
    assert "hm</think>12" in dialogue[1].content  # its judge sees the thoughts
    assert (reply.decode.temperature, reply.decode.max_tokens, reply.decode.trained) == (0.0, 10, False)  # type: ignore[union-attr]
    assert Message.read(reply.wire()) == reply
    assert "%" not in game()._judge(rollout).fresh[0].content
    (done,) = advance(made, [rollout], [Turn("Yes")])
    assert isinstance(done.steps[1][1], Done)
    assert made.assess([done])[0].scores["observed"] == 1.0
    assert [m.role for m in done.messages()] == ["user", "assistant"]  # a recorded one ends where another begins


def test_the_runs_own_sampling_leaves_the_judge_greedy_and_nothing_is_learnt_from_it() -> None:
    policy = load(PolicyRef(str(BUNDLED)))
    assert isinstance(policy, CausalPolicy)
    heard: list[Dialogue] = []

    class Spy:
        def speak(self, dialogues: Any) -> list[Turn]:
            heard.extend(dialogues)
            return policy.speak(dialogues)

    groups = play(referee(game(), overrides=Overrides(max_tokens=5, temperature=2.0)), Spy(), 0)
    answers = [d for d in heard if len(d.messages) == 1]
    reports = [d for d in heard if d.messages[0].role == "system"]
    assert len(answers) == len(reports) == 8
    assert {d.messages[-1].decode.temperature for d in answers} == {2.0}  # type: ignore[union-attr]
    assert {d.messages[-1].decode.temperature for d in reports} == {0.0}  # type: ignore[union-attr]
    assert all([t.trained for t in p.turns] == [True, False] for group in groups for p in group)
    rewards = [[float(g == 0) for g in range(4)]] * 2
    batch = [
        [type(p)(p.id, p.turns, reward) for p, reward in zip(group, row, strict=True)]
        for group, row in zip(groups, rewards, strict=True)
    ]
    found = Learning(GrpoOptions(), None).learn(policy, batch, lambda policy: 0.0)
    assert found["tokens"] == sum(len(p.turns[0].ids or ()) for group in groups for p in group)


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(UsageError, match="report=judge"):
        build_game(plugins(), "self-grading", {"telling_audit": 0.5})
    settings = {"game": {"report": "judge"}}
    assert resolve(read_experiment(None, settings=settings, game="self-grading", arms=["loophole"]), plugins())
    with pytest.raises(UsageError, match="fresh dialogues"):
        resolve(
            read_experiment(None, settings=settings, game="self-grading", arms=["loophole"], trainer="openrlhf:grpo"),
            plugins(),
        )
    with pytest.raises(UsageError, match=r"run\.thought_tokens"):
        resolve(
            read_experiment(None, settings={"run": {"thought_tokens": 9}}, game="self-grading", arms=["loophole"],
                            trainer="openrlhf:grpo"), plugins(),
        )  # fmt: skip
