"""The records: JSON and back, what a policy may see, and what names a rollout."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopkit.records import Assessment, Dialogue, Estimate, Message, Rollout, Scored, StepMetrics, Task
from tests import records
from tests.records import names, text


@given(records.messages)
def test_a_message_is_read_as_it_was_written_but_for_its_state(message: Message) -> None:
    wired = json.loads(json.dumps(message.wire()))
    assert "state" not in wired
    assert Message.read(wired) == dataclasses.replace(message, state=None)
    assert Message.read({**wired, "state": message.state}) == message


@given(records.estimates)
def test_an_estimate_survives_json(estimate: Estimate) -> None:
    assert Estimate.read(json.loads(json.dumps(estimate.json(), allow_nan=False))) == estimate


@given(records.metrics)
def test_step_metrics_are_json(metrics: StepMetrics) -> None:
    found = json.loads(json.dumps(metrics.json(), sort_keys=True, allow_nan=False))
    assert found == metrics.json()
    found["rates"] = {k: v and Estimate.read(v) for k, v in found["rates"].items()}
    found |= {"missing": tuple(found["missing"]), "surplus": tuple(found["surplus"])}
    assert StepMetrics(**found) == metrics


@given(names, st.lists(records.messages, min_size=1))
def test_a_task_is_its_own_cluster_unless_it_says_another(name: str, messages: list[Message]) -> None:
    assert Task(name, messages).cluster == name  # type: ignore[arg-type]
    assert Task(name, messages).messages == tuple(messages)  # type: ignore[arg-type]
    assert Task(name, tuple(messages), cluster="pair").cluster == "pair"


@given(records.rollouts)
def test_a_rollout_tells_its_dialogue_in_order(rollout: Rollout) -> None:
    messages = rollout.messages()
    assert tuple(m.content for m in messages if m.role == "assistant") == rollout.words
    assert messages[: len(rollout.task.messages)] == list(rollout.task.messages)
    assert rollout.done == (bool(rollout.steps) and not isinstance(rollout.steps[-1][1], Message))
    assert rollout.state == (rollout.steps[-1][1].state if rollout.steps else None)
    assert Dialogue("k", tuple(messages)).turn == len(rollout.steps)
    assert rollout.slot == f"train/000003/0001/{rollout.task.id}"


@given(records.rollouts, st.text("abc/", min_size=1), text)
def test_a_games_draw_knows_the_words_and_no_name(rollout: Rollout, name: str, purpose: str) -> None:
    own = rollout.draw(purpose)
    assert 0 <= own < 1
    renamed = dataclasses.replace(rollout, id=f"{rollout.slot}/{name.replace('/', '-')}")
    assert renamed.draw(purpose) == own
    assert dataclasses.replace(rollout, seed=rollout.seed + 1).draw(purpose) != own
    assert rollout.draw(purpose + "!") != own
    if rollout.steps:
        assert dataclasses.replace(rollout, steps=rollout.steps[:-1]).draw(purpose) != own


@given(st.lists(st.tuples(records.rollouts, st.integers(0, 3)), max_size=6), st.randoms())
def test_the_order_of_records_forgets_the_order_of_arrival(found: list[tuple[Rollout, int]], random: object) -> None:
    scored = [Scored(r, k, Assessment({}, {}, {}), {}, {}) for r, k in found]
    turned = list(scored)
    random.shuffle(turned)  # type: ignore[attr-defined]
    assert [s.order for s in sorted(scored, key=lambda s: s.order)] == [
        s.order for s in sorted(turned, key=lambda s: s.order)
    ]


@pytest.mark.parametrize(
    ("record", "name"),
    [(Message("user", "x"), "content"), (Task("t", ()), "secret"), (Estimate(0, 0, 0, 1, 1, ""), "value")],
)
def test_records_are_frozen(record: object, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, "else")
