"""Plays a policy against a referee: the loop every trainer and every evaluation shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from loopkit.contracts import Policy, Referee, Split
from loopkit.records import AS_ASKED, Dialogue, Message, Overrides, Scored, StepMetrics, Task, Turn
from loopkit.rollouts.referee import LocalReferee
from loopkit.rollouts.scoring import Setup
from loopkit.rollouts.thoughts import parted


@dataclass(frozen=True, slots=True)
class Played:
    """One rollout from the trainer's side: its turns (each a training segment) and what it was paid."""

    id: str
    turns: tuple[Turn, ...]
    reward: float


def play(referee: Referee, policy: Policy, step: int) -> list[list[Played]]:
    """Play a step's slots, ``group_size`` rollouts each, all in one batch -> (P, G) played rollouts."""
    slots = referee.slots(step)
    ids = [[f"{slot.key}/{g}" for g in range(referee.group_size)] for slot in slots]
    dialogues = {i: list(slot.messages) for slot, group in zip(slots, ids, strict=True) for i in group}
    turns: dict[str, list[Turn]] = {i: [] for i in dialogues}
    active, n = list(dialogues), 0
    while active:
        answers = policy.speak([Dialogue(i, tuple(dialogues[i])) for i in active])
        decodes = [dialogues[i][-1].decode for i in active]
        spoken = [
            replace(parted(turn, d.markers), trained=d.trained) if d else parted(turn)
            for turn, d in zip(answers, decodes, strict=True)
        ]
        replies = referee.reply(active, [n] * len(active), spoken)
        still = []
        for id_, turn, reply in zip(active, spoken, replies, strict=True):
            turns[id_].append(turn)
            if isinstance(reply, Message):
                dialogues[id_] = reply.after(dialogues[id_], turn.text)
                still.append(id_)
        active, n = still, n + 1
    rewards = dict(zip(turns, referee.settle(list(turns)), strict=True))
    dropping = getattr(referee, "kept", None)  # a served referee drops none: see experiment/arms.py
    kept = dict(zip(turns, dropping(list(turns)), strict=True)) if dropping else dict.fromkeys(turns, True)
    return [_learned(group, turns, rewards, kept) for group in ids]


def _learned(
    group: Sequence[str], turns: Mapping[str, Sequence[Turn]], rewards: Mapping[str, float], kept: Mapping[str, bool]
) -> list[Played]:
    """A slot's rollouts. One that is dropped is no turn to learn from, and is paid what the others were on average, so
    that it moves no baseline."""
    left = [rewards[i] for i in group if kept[i]]
    mean = sum(left) / len(left) if left else 0.0
    return [
        Played(i, tuple(turns[i]), rewards[i])
        if kept[i]
        else Played(i, tuple(replace(turn, trained=False) for turn in turns[i]), mean)
        for i in group
    ]


@dataclass
class Kept:
    """A recorder that keeps an evaluation's rollouts in memory, in the order of play."""

    scored: list[Scored] = field(default_factory=list)

    def drop(self, step: int) -> None:
        self.scored.clear()

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        self.scored += scored

    def recorded(self) -> tuple[int, ...]:
        return ()


def evaluate(
    setup: Setup,
    policy: Policy,
    *,
    seed: int,
    split: Split,
    prompts: int,
    batch: int,
    overrides: Overrides = AS_ASKED,
    keep: Callable[[Task], bool] = lambda task: True,
    group: int = 1,
    opening: Callable[[Sequence[Message]], Sequence[Message]] = lambda messages: messages,
    drawn: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Scored]:
    """Play the first ``prompts`` tasks of a split ``group`` times each, and score them.

    ``overrides``: what goes before the game's own; ``keep``: the tasks of the split that are played; ``opening``: what
    becomes of a dialogue's opening messages; ``drawn``: tasks are drawn by the seed, in whole clusters, in place of the
    first.
    """
    kept = Kept()
    referee = LocalReferee(
        setup,
        seed=seed,
        split=split,
        n_steps=0,
        prompts_per_step=batch,
        group_size=group,
        recorder=kept,
        listed=prompts,
        drawn=drawn,
        overrides=overrides,
        keep=keep,
        opening=opening,
    )
    for step in range(referee.n_steps):
        play(referee, policy, step)
        referee.close(step, {})
        progress(min((step + 1) * batch, prompts), prompts)
    return kept.scored
