"""The local referee: the plan of slots, the books, settling, closing, and what no order of arrival may change."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopkit.contracts import Draw, Options, RewardChannel
from loopkit.errors import ContractError, RefereeError, RunError, UsageError
from loopkit.records import (
    Assessment,
    Decode,
    Dialogue,
    Done,
    Message,
    Overrides,
    Rollout,
    Scored,
    StepMetrics,
    Task,
    Turn,
)
from loopkit.rollouts import scoring
from loopkit.rollouts.playing import evaluate, play
from loopkit.rollouts.referee import LocalReferee, draw, plan
from loopkit.rollouts.scoring import Setup, advance
from tests.toys import COPYING, DOUBLING, Doubling, setup

P, G = 4, 4


class Kept:
    """A recorder of closed steps."""

    def __init__(self) -> None:
        self.steps: dict[int, tuple[StepMetrics, list[Scored], Mapping[str, float]]] = {}

    def drop(self, step: int) -> None:
        self.steps = {s: v for s, v in self.steps.items() if s < step}

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        assert metrics.step not in self.steps, "recorded twice"
        self.steps[metrics.step] = (metrics, list(scored), timings)

    def recorded(self) -> list[int]:
        return list(self.steps)


def referee(
    recorder: Kept | None = None,
    game: Doubling = DOUBLING,
    paid: str = "audit",
    seed: int = 1,
    group_size: int = G,
    using: Setup | None = None,
) -> LocalReferee:
    return LocalReferee(
        using or setup(game, paid),
        seed=seed,
        split="train",
        n_steps=12,
        prompts_per_step=P,
        group_size=group_size,
        recorder=recorder or Kept(),
    )


def say(r: LocalReferee, id_: str, *texts: str) -> str:
    """Play a rollout from its first turn on."""
    for n, text in enumerate(texts):
        r.reply([id_], [n], [Turn(text)])
    return id_


def right(slot_messages: Sequence[Message]) -> str:
    return str(2 * int(slot_messages[0].content.split()[1].rstrip(".")))


class Claims:
    """Every rollout is wrong, and claims to be right: all of a slot are equal."""

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        return [Turn("Yes" if d.turn else "0") for d in dialogues]


# --- the plan ---------------------------------------------------------------------------------------------------


def tasks(*sizes: int) -> list[Task]:
    """Clusters of these sizes."""
    return [
        Task(f"t{c}.{i}", (Message("user", f"{c}.{i}"),), cluster=f"c{c}")
        for c, size in enumerate(sizes)
        for i in range(size)
    ]


@given(
    sizes=st.lists(st.sampled_from([1, 2]), min_size=4, max_size=20).filter(
        lambda s: s.count(1) == 0 or s.count(1) >= 4
    ),
    seed=st.integers(0, 99),
    steps=st.integers(1, 12),
)
def test_steps_are_full_of_whole_clusters_and_none_twice(sizes: list[int], seed: int, steps: int) -> None:
    all_tasks = tasks(*sizes)
    made = plan(all_tasks, steps, 4, seed, "train")
    assert len(made) == steps
    for step in made:
        assert len(step) == 4
        assert len({t.id for t in step}) == 4
        for cluster, n in Counter(t.cluster for t in step).items():
            assert n == sizes[int(cluster[1:])]
    assert plan(all_tasks, steps, 4, seed, "train") == made


@pytest.mark.parametrize(("clusters", "size", "prompts"), [(20, 2, 4), (7, 2, 6), (9, 1, 4), (5, 3, 3), (3, 1, 3)])
def test_every_epoch_has_every_cluster_once(clusters: int, size: int, prompts: int) -> None:
    per_step = prompts // size
    steps = 4 * clusters // per_step  # four epochs, to within a step
    made = plan(tasks(*[size] * clusters), steps, prompts, 3, "train")
    seen = [c for step in made for c in dict.fromkeys(t.cluster for t in step)]
    counts = Counter(seen)
    assert len(counts) == clusters
    # a cluster that would come twice in one step waits, so an epoch's edge may blur by a step
    assert max(counts.values()) - min(counts.values()) <= 1
    if clusters % per_step == 0:
        epochs = [seen[i : i + clusters] for i in range(0, len(seen), clusters)]
        assert all(len(set(e)) == clusters for e in epochs)
        assert len({tuple(e) for e in epochs}) > 1, "each epoch is shuffled anew"


def test_the_plan_is_pure_in_seed_and_step() -> None:
    made = [plan(tasks(*[2] * 9), n, 4, 1, "train") for n in (3, 12)]
    assert made[1][:3] == made[0], "a longer run begins like a shorter one"
    assert made[1] != plan(tasks(*[2] * 9), 12, 4, 2, "train")
    assert made[1] != plan(tasks(*[2] * 9), 12, 4, 1, "dev")
    random.seed(0)
    assert plan(tasks(*[2] * 9), 3, 4, 1, "train") == made[0]


def test_a_cluster_that_does_not_fit_waits_for_the_next_step() -> None:
    for seed in range(20):
        made = plan(tasks(3, 1, 1, 1, 1, 1), 2, 4, seed, "train")
        assert sum(t.cluster == "c0" for step in made for t in step) >= 3, "at the latest in the second step"


@pytest.mark.parametrize(
    ("sizes", "prompts"), [([2] * 10, 3), ([2] * 10, 1), ([1] * 5, 6), ([2, 2], 6), ([5], 4), ([4, 3], 6)]
)
def test_prompts_that_whole_clusters_cannot_fill_are_refused_with_the_cure(sizes: list[int], prompts: int) -> None:
    with pytest.raises(
        UsageError, match=rf"^{prompts} prompts a step.*sizes \[.*{sum(sizes)} prompts.*prompts_per_step"
    ):
        plan(tasks(*sizes), 1, prompts, 1, "train")


@given(sizes=st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=20), prompts=st.integers(3, 30))
def test_held_out_prompts_are_drawn_in_whole_clusters(sizes: list[int], prompts: int) -> None:
    every = tasks(*sizes)
    chosen = draw(every, prompts, 5, "test")
    assert chosen == [t for t in every if t in chosen] == draw(every, prompts, 5, "test")
    assert len(chosen) <= prompts
    left_out = Counter(t.cluster for t in every if t not in chosen)
    assert not set(left_out) & {t.cluster for t in chosen}
    assert all(n > prompts - len(chosen) for n in left_out.values())  # none of them would still fit


def test_another_seed_draws_other_prompts_and_every_prompt_is_drawn_as_often() -> None:
    drawn = Counter(t.id for seed in range(400) for t in draw(tasks(*[1] * 20), 5, seed, "test"))
    assert len(drawn) == 20
    assert all(60 < n < 145 for n in drawn.values())  # 100 expected, 5 standard deviations


def test_prompts_too_few_for_a_cluster_are_refused_with_the_cure() -> None:
    with pytest.raises(UsageError, match=r"the smallest has 2.*eval_prompts"):
        draw(tasks(2, 3), 1, 1, "test")


def test_an_evaluation_plays_the_prompts_drawn() -> None:
    found = [
        {s.rollout.task.id for s in evaluate(setup(DOUBLING), Claims(), seed=seed, split="test", prompts=3, batch=2,
                                             drawn=True)}
        for seed in (1, 2)
    ]  # fmt: skip
    every = DOUBLING.tasks("test")
    assert found == [{t.id for t in draw(every, 3, seed, "test")} for seed in (1, 2)]
    assert found[0] != found[1]


def test_a_split_without_tasks_is_refused() -> None:
    class Empty(Doubling):
        size = 0

    with pytest.raises(UsageError, match="no tasks in split 'train'"):
        referee(game=Empty(Options()))


# --- slots ------------------------------------------------------------------------------------------------------


def test_slots_are_pure_and_show_no_state() -> None:
    one, two = referee(), referee()
    backwards = [two.slots(s) for s in reversed(range(12))][::-1]
    assert [one.slots(s) for s in range(12)] == backwards
    say(one, one.slots(3)[0].key + "/x", "1", "Yes")
    one.close(2, {})
    one.resume(1)
    assert one.slots(3) == backwards[3]
    keys = [slot.key for step in backwards for slot in step]
    assert len(set(keys)) == 12 * P
    assert keys[0].startswith("train/000000/0000/t")
    assert all(m.state is None for step in backwards for slot in step for m in slot.messages)
    assert all(m.state is not None for t in DOUBLING.tasks("train") for m in t.messages)
    assert referee(seed=2).slots(0) != backwards[0]


@pytest.mark.parametrize("step", [-1, 12, 99])
def test_there_are_no_other_steps(step: int) -> None:
    with pytest.raises(RefereeError, match=f"no step {step}: this run has steps 0 to 11"):
        referee().slots(step)


# --- replies ----------------------------------------------------------------------------------------------------


def test_a_repeated_turn_gets_the_same_answer_and_the_game_is_not_asked_again() -> None:
    class Counting(Doubling):
        asked = 0

        def reply(self, rollouts: Sequence[Rollout]) -> list[Message | Done]:
            Counting.asked += len(rollouts)
            return super().reply(rollouts)

    r = referee(game=Counting(Options()))
    id_ = r.slots(0)[0].key + "/a"
    first = r.reply([id_], [0], [Turn("1")])
    assert first[0] in [Message("user", w, first[0].decode) for w in ("Sure?", "Is that right?")]  # type: ignore[union-attr]
    assert r.reply([id_], [0], [Turn("1")]) == first
    assert r.reply([id_], [1], [Turn("Yes")]) == [Done()]
    assert r.reply([id_, id_], [0, 1], [Turn("1"), Turn("Yes")]) == [first[0], Done()]
    assert Counting.asked == 2


def test_a_turn_already_played_cannot_be_said_otherwise() -> None:
    r = referee()
    id_ = say(r, r.slots(0)[0].key + "/a", "1", "Yes")
    for n, text in ((0, "2"), (1, "No"), (0, "")):
        with pytest.raises(
            RefereeError, match=rf"turn {n} of '{id_}' was already played with another text.*new rollout"
        ):
            r.reply([id_], [n], [Turn(text)])
    assert len(r.settle([id_])) == 1


@pytest.mark.parametrize("n", [1, 5, -1, -2])
def test_turns_come_in_order(n: int) -> None:
    r = referee()
    id_ = r.slots(0)[0].key + "/a"
    with pytest.raises(RefereeError, match=f"turn {n} of .* is not the next one: turn 0 is"):
        r.reply([id_], [n], [Turn("1")])
    say(r, id_, "1")
    if n != 1:
        with pytest.raises(RefereeError, match=f"turn {n} of .* is not the next one: turn 1 is"):
            r.reply([id_], [n], [Turn("1")])
    say(r, id_, "1", "Yes")
    with pytest.raises(RefereeError, match=r"over after 2 turns.*Settle it"):
        r.reply([id_], [2], [Turn("and another thing")])


def test_a_rollout_is_asked_for_one_turn_at_a_time() -> None:
    r = referee()
    id_ = r.slots(0)[0].key + "/a"
    with pytest.raises(RefereeError, match="twice"):
        r.reply([id_, id_], [0, 0], [Turn("1"), Turn("1")])


@pytest.mark.parametrize("name", ["", "a" * 101, "a\n", "\u202e", "é", "<b>", "a\x00", "a\ud800"])
def test_rollouts_and_metrics_have_plain_names(name: str) -> None:
    r = referee()
    with pytest.raises(RefereeError, match="cannot name a rollout"):
        r.reply([f"{r.slots(0)[0].key}/{name}"], [0], [Turn("1")])
    for kind in ("metric", "timing"):
        with pytest.raises(RefereeError, match=f"cannot name a {kind}"):
            r.close(0, {name: 1.0} if kind == "metric" else {}, {name: 1.0} if kind == "timing" else {})
    with pytest.raises(RefereeError, match="1001 names"):
        r.close(0, {f"m{i}": 1.0 for i in range(1001)})
    r.close(0, {"actor/ppo_kl, mean".replace(",", ""): 1.0}, {"timing/make experience": 1.0})


def test_one_bad_turn_leaves_the_whole_batch_unplayed() -> None:
    r = referee()
    a, b = (r.slots(0)[0].key + name for name in ("/a", "/b"))
    with pytest.raises(RefereeError, match="not the next one"):
        r.reply([a, b], [0, 1], [Turn("1"), Turn("1")])
    assert r.reply([a], [0], [Turn("another")])  # turn 0 of a was never played


@pytest.mark.parametrize("id_", ["", "x", "train/zero/0000/t1/a", "train/000000/0000/nothing/a", "train/000000"])
def test_ids_that_belong_to_no_slot(id_: str) -> None:
    r = referee()
    with pytest.raises(RefereeError, match=r"is not a rollout id|belongs to no slot"):
        r.reply([id_], [0], [Turn("1")])
    with pytest.raises(RefereeError, match=r"is not a rollout id|belongs to no slot"):
        r.settle([id_])


def test_a_slot_of_another_step_or_split_is_no_slot() -> None:
    r = referee()
    key = r.slots(0)[0].key
    for other in (key.replace("000000", "000001"), key.replace("train", "dev"), key):
        with pytest.raises(RefereeError, match="belongs to no slot"):
            r.reply([other + ("/a/b" if other == key else "/a")], [0], [Turn("1")])


def test_a_game_that_answers_too_few_is_at_fault() -> None:
    class Silent(Doubling):
        def reply(self, rollouts: Sequence[Rollout]) -> list[Message | Done]:
            return super().reply(rollouts)[1:]

    r = referee(game=Silent(Options()))
    with pytest.raises(ContractError, match=r"game Silent: reply\(\) got 1 rollouts and returned 0"):
        r.reply([r.slots(0)[0].key + "/a"], [0], [Turn("1")])


# --- settling -----------------------------------------------------------------------------------------------------


def test_settling_again_pays_the_same_and_assesses_nothing() -> None:
    class Counting(Doubling):
        assessed: list[str]

        def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
            self.assessed += [r.id for r in rollouts]
            return super().assess(rollouts)

    game = Counting(Options())
    game.assessed = []
    kept = Kept()
    r = referee(kept, game)
    ids = [say(r, f"{s.key}/{g}", "0", "Yes") for s in r.slots(0) for g in range(G)]
    paid = r.settle(ids)
    assert len(set(paid)) == 2, "audit draws differ between equal rollouts"
    assert r.settle(ids[::-1]) == paid[::-1]
    assert r.settle([ids[3], ids[3]]) == [paid[3]] * 2
    assert r.settle([]) == []
    assert sorted(game.assessed) == sorted(ids)
    r.close(0, {})
    assert kept.steps[0][0].n == P * G


def test_an_id_twice_in_one_call_is_one_rollout() -> None:
    kept = Kept()
    r = referee(kept)
    id_ = say(r, r.slots(0)[0].key + "/a", "0", "Yes")
    assert len(set(r.settle([id_, id_, id_]))) == 1
    r.close(0, {})
    assert [s.occurrence for s in kept.steps[0][1]] == [0]


@pytest.mark.parametrize("texts", [(), ("1",)])
def test_an_unfinished_rollout_is_an_error_and_nobody_in_the_batch_is_paid(texts: tuple[str, ...]) -> None:
    kept = Kept()
    r = referee(kept)
    done = say(r, r.slots(0)[0].key + "/a", "0", "Yes")
    open_ = say(r, r.slots(0)[0].key + "/b", *texts)
    with pytest.raises(RefereeError, match=r"'.*/b' is not finished: play it until"):
        r.settle([done, open_])
    r.close(0, {})
    assert kept.steps[0][0].n == 0


def test_a_failing_assessment_leaves_the_books_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PAUSE", 0.0)

    class Failing(Doubling):
        fails = False

        def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
            if self.fails:
                raise OSError("sandbox gone")
            return super().assess(rollouts)

    game = Failing(Options())
    r, whole = referee(game=game), referee()
    ids = [say(r, r.slots(0)[0].key + f"/{g}", "0", "Yes") for g in range(12)]
    for id_ in ids:
        say(whole, id_, "0", "Yes")
    first = r.settle(ids[:5])
    for _ in range(3):
        game.fails = True
        with pytest.raises(RunError, match=r"Failing: assess\(\) raised OSError: sandbox gone, 3 times in a row"):
            r.settle(ids)
        assert r.settle(ids[:5]) == first, "what was settled needs no sandbox"
        game.fails = False
    # had a failed try counted occurrences, the later draws would be others
    paid = first + r.settle(ids[5:])
    assert paid == whole.settle(ids)
    assert len(set(paid[5:])) == 2


class Odd(RewardChannel):
    """Pays what it is told, whatever its range says."""

    reads = frozenset({"right"})
    range = (0.0, 1.0)
    value: float

    def rewards(self, signals: Sequence[Mapping[str, float]], draws: Sequence[Draw]) -> list[float]:
        return [self.value for _ in signals]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
@pytest.mark.parametrize("column", ["paid", "odd"])
def test_a_reward_that_is_no_number_in_range_names_its_channel_and_pays_nobody(value: float, column: str) -> None:
    odd, plain = Odd.model_construct(value=value), DOUBLING.channels["audit"]
    kept = Kept()
    using = Setup(
        DOUBLING, odd if column == "paid" else plain, {} if column == "paid" else {"odd": odd}, DOUBLING.detectors
    )
    r = referee(kept, using=using)
    id_ = say(r, r.slots(0)[0].key + "/a", "0", "Yes")
    with pytest.raises(ContractError, match=rf"channel '{column}' \(.*Odd\): reward is {value}.*\[0.0, 1.0\].*resume"):
        r.settle([id_])
    r.close(0, {})
    assert kept.steps[0][0].n == 0


class Scores(Doubling):
    """Gives every rollout these scores."""

    given: ClassVar[dict[str, float | None]] = {}

    def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
        return [replace(a, scores={**a.scores, **self.given}) for a in super().assess(rollouts)]


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, None])
def test_a_score_is_a_share_or_not_given(value: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scores, "given", {"observed": value})
    kept = Kept()
    r = referee(kept, using=setup(Scores(Options())))
    id_ = say(r, r.slots(0)[0].key + "/a", "0", "Yes")
    if value is not None:
        with pytest.raises(ContractError, match=rf"Scores.*score 'observed' of .* is {value}.*\[0.0, 1.0\]"):
            r.settle([id_])
        return
    r.settle([id_])
    r.close(0, {})
    assert kept.steps[0][1][0].assessment.scores["observed"] is None


@pytest.mark.parametrize("changed", [{}, {"max_tokens": 7}, {"temperature": 0.5, "top_p": 0.9, "top_k": 20}])
def test_what_the_run_says_of_sampling_is_shown_in_place_of_what_the_game_says(changed: dict[str, Any]) -> None:
    r = referee()
    of_game = [m.decode for slot in r.slots(0) for m in slot.messages]
    r.overrides = Overrides(**changed)
    decodes = [m.decode for slot in r.slots(0) for m in slot.messages]
    assert decodes == (of_game if not changed else [replace(d or Decode(), **changed) for d in of_game])
    assert decodes != of_game or not changed


def test_the_runs_system_message_goes_first_and_is_no_part_of_the_record() -> None:
    kept = Kept()
    r = referee(kept)
    (game_says, *_), r.overrides = r.slots(0)[0].messages, Overrides(system="Be brief.")
    slot = r.slots(0)[0]
    assert slot.messages == (Message("system", "Be brief."), game_says)
    r.settle([say(r, slot.key + "/a", "0", "Yes")])
    r.close(0, {})
    assert kept.steps[0][1][0].rollout.task.messages[0].content == game_says.content
    of_game = (Message("system", "You solve sums."), Message("user", "1 + 1"))
    assert [m.content for m in r.overrides.opening(of_game)] == ["Be brief.\n\nYou solve sums.", "1 + 1"]


def shown(scored: Sequence[Scored]) -> list[object]:
    """All of a record but the names."""
    return [(s.order, s.rollout.seed, s.assessment, s.rewards, s.flags) for s in scored]


@given(data=st.data())
def test_no_splitting_of_batches_changes_a_record(data: st.DataObject) -> None:
    """One by one, in any order and any batches, under any names: the same records, and pay by slot and words."""
    words = [("0", "Yes")] * 6 + [("0", "No"), ("1", "Yes"), ("1", "Yes")]
    whole = Kept()
    r = referee(whole)
    slots = r.slots(5)[:2]
    jobs = [(s.key, w) for s in slots for w in words]
    ids = [say(r, f"{key}/{j}", *w) for j, (key, w) in enumerate(jobs)]
    paid = Counter(zip(jobs, r.settle(ids), strict=True))
    r.close(5, {})

    split = Kept()
    r = referee(split)
    order = data.draw(st.permutations(range(len(jobs))))
    names = [f"{jobs[j][0]}/n{data.draw(st.integers(0, 9))}-{j}" for j in order]
    for name, j in zip(names, order, strict=True):
        say(r, name, *jobs[j][1])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(jobs) - 1))))
    again: Counter[object] = Counter()
    for start, end in zip([0, *cuts], [*cuts, len(jobs)], strict=True):
        rewards = r.settle(names[start:end])
        again.update(zip([jobs[j] for j in order[start:end]], rewards, strict=True))
    r.close(5, {})
    assert again == paid
    assert shown(split.steps[5][1]) == shown(whole.steps[5][1])
    assert [s.order for s in whole.steps[5][1]] == sorted(s.order for s in whole.steps[5][1])
    assert sorted(s.rollout.id for s in split.steps[5][1]) == sorted(names)
    equal = [s.rewards["paid"] for s in whole.steps[5][1] if s.rollout.words == ("0", "Yes")]
    assert len(set(equal)) == 2, "or occurrences would not have been tried"


# --- draws ------------------------------------------------------------------------------------------------------


def test_draws_are_the_same_in_every_arm() -> None:
    """The arm pays another channel; what each channel draws, and what the game says, is the same."""
    kept = {paid: Kept() for paid in ("loophole", "control", "audit")}
    for paid, keeper in kept.items():
        r = referee(keeper, paid=paid)
        play(r, Claims(), 0)
        r.close(0, {})
    arms = [k.steps[0][1] for k in kept.values()]
    for other in arms[1:]:
        for s, t in zip(arms[0], other, strict=True):
            assert {k: v for k, v in s.rewards.items() if k != "paid"} == {
                k: v for k, v in t.rewards.items() if k != "paid"
            }
            assert s.rollout.steps == t.rollout.steps
    assert [s.rewards["paid"] for s in arms[2]] == [s.rewards["audit"] for s in arms[0]]
    assert [s.rewards["paid"] for s in arms[0]] == [s.rewards["loophole"] for s in arms[2]]
    assert len({s.rewards["audit"] for s in arms[0]}) == 2
    # one draw serves every rate: who is audited at 0.1 is audited at 0.4
    assert all(s.rewards["audit"] == -6 for s in arms[0] if s.rewards["loophole"] == -6)


def test_draws_depend_on_slot_words_occurrence_and_seed() -> None:
    """And so audits hit about the rate, independently over each of them."""
    n = 200

    def audits(seed: int, step: int, slot: int, *words: str) -> list[float]:
        r = referee(seed=seed, paid="audit")
        key = r.slots(step)[slot].key
        return r.settle([say(r, f"{key}/{g}", *words) for g in range(n)])

    first = audits(1, 0, 0, "0", "Yes")
    others = [
        audits(*k) for k in [(1, 0, 0, "1", "Yes"), (1, 0, 1, "0", "Yes"), (1, 1, 0, "0", "Yes"), (2, 0, 0, "0", "Yes")]
    ]
    for paid in (first, *others):
        assert 0.25 < sum(p == -6 for p in paid) / n < 0.55
    for other in others:
        assert 50 < sum(a != b for a, b in zip(first, other, strict=True)) < 140
    assert audits(1, 0, 0, "0", "Yes") == first


def test_a_games_draw_is_of_the_words_so_far_and_not_of_the_name() -> None:
    def question(seed: int, slot: int, name: str, word: str) -> str:
        r = referee(seed=seed)
        answer = r.reply([f"{r.slots(0)[slot].key}/{name}"], [0], [Turn(word)])[0]
        assert isinstance(answer, Message)
        return answer.content

    assert len({question(1, 0, name, "7") for name in "abcdefghij"}) == 1
    for varied in ([(1, 0, "a", str(w)) for w in range(12)], [(s, 0, "a", "7") for s in range(12)]):
        assert len({question(*v) for v in varied}) == 2
    assert len({question(1, slot, "a", str(w)) for slot in range(P) for w in range(3)}) == 2


# --- closing and resuming -------------------------------------------------------------------------------------------


def test_missing_and_surplus_rollouts_are_recorded_by_name() -> None:
    kept = Kept()
    r = referee(kept)
    a, b, c, d = r.slots(0)
    played = [say(r, f"{a.key}/{g}", "0", "Yes") for g in range(3)]
    played += [say(r, f"{b.key}/{g}", "0", "Yes") for g in range(4)]
    played += [
        say(r, f"{c.key}/{name}", word, "No") for name, word in [*zip("vwxy", "1111", strict=True), ("first", "0")]
    ]
    r.settle(played)
    say(r, f"{a.key}/begun", "0")
    say(r, f"{d.key}/finished but never settled", "0", "No")
    r.close(0, {"loss": 1.0}, {"play": 2.0})
    metrics, scored, timings = kept.steps[0]
    assert metrics.missing == (f"{a.key}: 3 of 4", f"{d.key}: 0 of 4")
    assert len(metrics.surplus) == 1
    assert metrics.surplus[0] in {f"{c.key}/{name}" for name in "vwxy"}, "by the order of records, not of arrival"
    assert metrics.n == len(scored) == 12
    assert (metrics.trainer, timings) == ({"loss": 1.0}, {"play": 2.0})


def test_a_whole_step_lacks_nothing() -> None:
    kept = Kept()
    r = referee(kept)
    played = play(r, Claims(), 0)
    r.close(0, {})
    metrics = kept.steps[0][0]
    assert (metrics.n, metrics.missing, metrics.surplus) == (P * G, (), ())
    assert metrics.rewards["paid"] == pytest.approx(sum(p.reward for g in played for p in g) / (P * G))
    assert metrics.mixed_groups == pytest.approx(sum(len({p.reward for p in g}) > 1 for g in played) / P)


def test_late_rollouts_are_refused_and_closing_again_changes_nothing() -> None:
    kept = Kept()
    r = referee(kept)
    ids = [p.id for g in play(r, Claims(), 0) for p in g]
    r.close(0, {"loss": 1.0})
    r.close(0, {"loss": 2.0})
    assert kept.steps[0][0].trainer == {"loss": 1.0}
    with pytest.raises(RefereeError, match=r"step 0 is closed: '.*' comes too late"):
        r.reply(ids[:1], [0], [Turn("0")])
    with pytest.raises(RefereeError, match="step 0 is closed"):
        r.settle(ids[:1])


def test_steps_may_overlap() -> None:
    kept = Kept()
    r = referee(kept)
    a, b = (say(r, r.slots(step)[0].key + "/a", "0", "Yes") for step in (0, 1))
    r.settle([b, a])
    r.close(1, {})
    r.close(0, {})
    assert [[s.rollout.id for s in kept.steps[step][1]] for step in (0, 1)] == [[a], [b]]


def test_closing_a_step_there_is_not() -> None:
    with pytest.raises(RefereeError, match="no step 12"):
        referee().close(12, {})


def test_a_close_whose_recording_fails_keeps_the_rollouts() -> None:
    class Full(Kept):
        full = True

        def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
            if self.full:
                raise OSError("no space left")
            super().record(metrics, scored, timings)

    kept = Full()
    r = referee(kept)
    play(r, Claims(), 0)
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            r.close(0, {})
    kept.full = False
    r.close(0, {})
    assert (kept.steps[0][0].n, kept.steps[0][0].missing) == (P * G, ())
    assert not r._open
    assert not r._settled, "a closed step takes no memory"


def test_resume_drops_from_a_step_on_and_what_is_played_again_is_the_same() -> None:
    kept = Kept()
    r = referee(kept)
    for step in range(4):
        play(r, Claims(), step)
        r.close(step, {})
    before = {s: shown(v[1]) for s, v in kept.steps.items()}
    begun = say(r, r.slots(4)[0].key + "/a", "0")
    r.resume(2)
    assert sorted(kept.steps) == [0, 1]
    with pytest.raises(RefereeError, match="step 1 is closed"):
        r.settle([r.slots(1)[0].key + "/0"])
    with pytest.raises(RefereeError, match="not finished"):
        r.settle([r.slots(2)[0].key + "/0"])
    assert r.reply([begun], [0], [Turn("1")]), "the books of later steps are gone: other words are not conflict"
    for step in (2, 3):
        play(r, Claims(), step)
        r.close(step, {})
    assert {s: shown(v[1]) for s, v in kept.steps.items()} == before


def test_resume_in_mid_step_forgets_occurrences_too() -> None:
    whole, r = referee(), referee()
    paid = play(whole, Claims(), 3)
    ids = [p.id for g in paid for p in g]
    for id_ in ids[:7]:
        r.settle([say(r, id_, "0", "Yes")])
    r.resume(3)
    assert play(r, Claims(), 3) == paid


def test_a_resumed_process_refuses_the_steps_before() -> None:
    kept = Kept()
    r = referee(kept)
    r.resume(2)
    with pytest.raises(RefereeError, match="step 1 is closed"):
        play(r, Claims(), 1)
    r.close(1, {})
    assert kept.steps == {}


# --- evaluation -----------------------------------------------------------------------------------------------------


def test_an_evaluation_plays_the_split_once_in_order() -> None:
    ticks: list[tuple[int, int]] = []
    scored = evaluate(
        setup(DOUBLING), Claims(), seed=1, split="dev", prompts=10, batch=4, progress=lambda *a: ticks.append(a)
    )
    assert [s.rollout.task.id for s in scored] == [f"t{1000 + i}" for i in range(10)]
    assert ticks == [(4, 10), (8, 10), (10, 10)]
    assert all(s.flags == {"false-claim": True} for s in scored)


def test_a_one_turn_game_is_over_at_once() -> None:
    r = LocalReferee(setup(COPYING), seed=1, split="test", n_steps=1, prompts_per_step=2, group_size=2, recorder=Kept())
    assert [len(p.turns) for g in play(r, Claims(), 0) for p in g] == [1] * 4


def test_an_honest_answer_is_told_from_a_false_claim() -> None:
    kept = Kept()
    r = referee(kept, paid="control")
    slot = r.slots(0)[0]
    assert r.settle([say(r, slot.key + "/a", right(slot.messages), "Yes")]) == [2.0]
    assert r.settle([say(r, slot.key + "/b", "0", "Yes")]) == [-6.0]
    r.close(0, {})
    flags = {s.rollout.id[-1]: s.flags["false-claim"] for s in kept.steps[0][1]}
    assert flags == {"a": False, "b": True}


@pytest.mark.parametrize("answer", ["well done", None, 3])
def test_a_reply_that_is_neither_message_nor_done_blames_the_game(answer: object) -> None:
    class Chatty(Doubling):
        def reply(self, rollouts: Sequence[Rollout]) -> list[Any]:
            return [answer for _ in rollouts]

    game = Chatty(Options())
    with pytest.raises(ContractError, match=r"Chatty: reply\(\).*Done"):
        advance(game, [Rollout("train/0/0/a/0", game.tasks("train")[0])], [Turn("2")])
