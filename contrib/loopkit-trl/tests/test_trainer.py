"""TRL's real GRPOTrainer through the referee: the protocol, several turns, what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loopkit_trl.speaking import Speaker, sequence
from loopkit_trl.trainer import TrlGrpo, TrlGrpoOptions

from loopkit import Decode, Dialogue, Message, PolicyRef, Turn, check_trainer
from loopkit.errors import UsageError
from loopkit.experiment.resolve import build_game
from loopkit.policy.load import CausalPolicy, load
from loopkit.policy.tiny import BUNDLED
from loopkit.registry import plugins
from loopkit.rollouts.playing import Played
from loopkit.rollouts.referee import LocalReferee
from loopkit.rollouts.scoring import Setup

START = PolicyRef(str(BUNDLED))


def setup_of(name: str) -> Setup:
    game = build_game(plugins.load(), name, {})
    return Setup(game, game.channels["loophole"], dict(game.channels), game.detectors)


class Books:
    """A recorder that keeps each step's metrics and rollouts."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.scored: list[Any] = []

    def drop(self, step: int) -> None:
        del self.steps[step:]

    def record(self, metrics: Any, scored: Any, timings: Any) -> None:
        self.steps.append(metrics)
        self.scored.append(scored)

    def recorded(self) -> tuple[int, ...]:
        return ()


def referee(name: str, books: Books, **sizes: int) -> LocalReferee:
    given = {"n_steps": 2, "prompts_per_step": 4, "group_size": 4, **sizes}
    return LocalReferee(setup_of(name), seed=0, split="train", recorder=books, **given)


@pytest.mark.parametrize("name", ["context-compliance", "self-grading"])  # one turn, two turns
def test_it_keeps_to_the_protocol_and_is_deterministic(name: str, tmp_path: Path) -> None:
    """With a KL term: after a resume it is still to the policy that the run began with."""
    options = {"learning_rate": 3e-4, "beta": 0.1}
    report = check_trainer(TrlGrpo, workdir=tmp_path, start=START, setup=setup_of(name), options=options)
    assert report.status == "proven", report.reasons
    assert "deterministic" in {f.check for f in report.findings if f.ok}


def test_trl_learns_from_what_the_referee_paid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own log has the mean of the rewards on record, and writes nothing on standard output."""
    books = Books()
    TrlGrpo(TrlGrpoOptions(learning_rate=1e-3, micro_batches=2), START, 0).train(
        referee("self-grading", books), tmp_path
    )
    for metrics, scored in zip(books.steps, books.scored, strict=True):
        assert metrics.trainer["reward"] == pytest.approx(metrics.rewards["paid"], abs=1e-6)
        assert len(scored) == 16
        assert {len(s.rollout.steps) for s in scored} == {2}
    assert capsys.readouterr().out == ""


def test_a_rollout_of_two_turns_is_one_sequence() -> None:
    first = Turn("a", "stop", (1, 2), (3, 9))
    second = Turn("b", "length", (1, 2, 3, 9, 7, 7), (4, 5))
    assert sequence(Played("", (first, second), 1.0)) == ([1, 2], [3, 9, 7, 7, 4, 5], [1, 1, 0, 0, 1, 1])
    assert sequence(Played("", (first,), 1.0)) == ([1, 2], [3, 9], [1, 1])


class Scripted:
    """Stands where TRL's trainer samples, and says what it is given, in ids."""

    def __init__(self, *said: list[int]) -> None:
        self.said = list(said)
        self.generation_config = SimpleNamespace(max_new_tokens=0)

    def _generate_single_turn(self, prompts: Any, images: Any, fields: Any, n: int) -> tuple[list[list[int]], None]:
        return [self.said.pop(0) for _ in prompts], None


def dialogue(*messages: Message) -> Dialogue:
    return Dialogue("train/000000/0000/t/0", messages)


@pytest.fixture(scope="module")
def policy() -> CausalPolicy:
    return load(START)


def test_a_second_turn_continues_the_first_token_for_token(policy: CausalPolicy) -> None:
    """As the policy meets it in evaluation, where the whole dialogue is templated anew."""
    ids = policy.tokenizer("12", add_special_tokens=False).input_ids
    (end,) = policy.stop_ids
    asked, again = Message("user", "Solve: 5 + 7", Decode(1.0, 8)), Message("user", "Right?", Decode(1.0, 4))
    for said in ([*ids, end], [*ids]):  # it stopped; it was cut off
        speaker = Speaker(policy, Scripted(said, [end]), 1.0)
        (first,) = speaker.speak([dialogue(asked)])
        (second,) = speaker.speak([dialogue(asked, Message("assistant", first.text), again)])
        assert first.text == "12"
        assert second.prompt_ids == policy.encode([asked, Message("assistant", "12"), again])


def test_a_turn_is_cut_at_its_own_limit(policy: CausalPolicy) -> None:
    (turn,) = Speaker(policy, Scripted([20, 21, 22, 23]), 1.0).speak([dialogue(Message("user", "x", Decode(1.0, 3)))])
    assert (turn.ids, turn.finish) == ((20, 21, 22), "length")


def test_refused_before_any_gradient(policy: CausalPolicy, tmp_path: Path) -> None:
    speaker = Speaker(policy, Scripted([20]), 1.0)
    with pytest.raises(UsageError, match=r"turn 0 is decoded at temperature 0\.5.*--trainer grpo"):
        speaker.speak([dialogue(Message("user", "x", Decode(0.5, 3)))])
    with pytest.raises(UsageError, match=r"run\.group_size"):
        TrlGrpo(TrlGrpoOptions(), START, 0).train(referee("self-grading", Books(), group_size=1), tmp_path)
    with pytest.raises(UsageError, match=r"trainer\.micro_batches=3 does not divide"):
        TrlGrpo(TrlGrpoOptions(micro_batches=3), START, 0).train(referee("self-grading", Books()), tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_template_that_rewrites_history_is_refused(tmp_path: Path) -> None:
    """Where earlier answers are taken out of a dialogue, two turns are not one sequence."""
    forgetful = load(START)
    forgetful.tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
        "<|assistant|>"
    )
    (end,) = forgetful.stop_ids
    asked = Message("user", "Solve: 5 + 7", Decode(1.0, 8))
    speaker = Speaker(forgetful, Scripted([20, end]), 1.0)
    speaker.speak([dialogue(asked)])
    with pytest.raises(UsageError, match="several turns, and the model's chat template does not continue"):
        speaker.speak([dialogue(asked, Message("assistant", "12"), Message("user", "Right?", Decode(1.0, 8)))])
