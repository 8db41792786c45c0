"""That nothing but the rollout decides: not its batchmates, its name, the order of arrival, or the process."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest

from pydantic import BaseModel

from loopkit.checks import fresh
from loopkit.checks.report import RULES, Complaints
from loopkit.checks.specimens import (
    MOST_TURNS,
    Specimen,
    converse,
    garbage_texts,
    sample,
    specimens_of,
    through_json,
)
from loopkit.contracts import SPLITS, ExploitDetector, Game, Policy, RewardChannel
from loopkit.errors import ContractError, UsageError
from loopkit.records import Json, Message, Rollout, Scored, StepMetrics, Turn
from loopkit.rollouts.referee import LocalReferee, plan
from loopkit.rollouts.scoring import Setup, advance, score


def _differs(s: Scored, t: Scored) -> str:
    """Which of the game's answers differs first; empty if none does."""
    same = (s.assessment == t.assessment, s.rewards == t.rewards, s.flags == t.flags)
    return "" if all(same) else ("assess()", "rewards()", "flags()")[same.index(False)]


def batches(setup: Setup, rollouts: Sequence[Rollout]) -> Complaints:
    before, half = copy.deepcopy(rollouts), len(rollouts) // 2
    whole = {s.rollout.id: s for s in score(setup, rollouts, [0] * len(rollouts))}
    ways: dict[str, list[Sequence[Rollout]]] = {
        "asked again": [rollouts],
        "in reverse": [rollouts[::-1]],
        "in halves": [rollouts[:half], rollouts[half:]],
        "odd and even apart": [rollouts[::2], rollouts[1::2]],
        "each is there twice": [[*rollouts, *rollouts]],
        "one by one": [[r] for r in rollouts],
    }
    for way, parts in ways.items():
        for s in (s for batch in parts for s in score(setup, batch, [0] * len(batch))):
            if difference := _differs(s, whole[s.rollout.id]):
                yield f"{difference} of {s.rollout.words!r:.60} differs when {way}. {RULES['batches'].cure}"
                break
    if rollouts != before:
        yield f"A rollout was changed while it was scored. Work on copies of what it holds. {RULES['batches'].cure}"
    for r in rollouts:
        if converse(setup.game, [replace(r, id=f"{r.slot}/alone", steps=())], [r.words])[0].steps != r.steps:
            yield f"reply() to {r.words!r:.60} differs alone, or under another rollout name. {RULES['batches'].cure}"
    return f"{len(rollouts)} rollouts, {len(ways)} ways"


def round_trip(setup: Setup, rollouts: Sequence[Rollout]) -> Complaints:
    again = [through_json(r) for r in rollouts]
    zeros = [0] * len(rollouts)
    for s, t in zip(score(setup, rollouts, zeros), score(setup, again, zeros), strict=True):
        if difference := _differs(s, t):
            yield f"{difference} of {s.rollout.words!r:.60} differs once its rollout was JSON. {RULES['json'].cure}"
    for r, read in zip(rollouts, again, strict=True):
        for n in range(len(r.steps)):
            (replayed,) = advance(setup.game, [replace(read, steps=read.steps[:n])], [Turn(r.words[n])])
            if replayed.steps[n][1] != r.steps[n][1]:
                yield f"reply() to {r.words[: n + 1]!r:.60} differs once its rollout was JSON. {RULES['json'].cure}"
    return f"{len(rollouts)} rollouts"


class Ledger:
    """A referee's recorder that outlives it, as a run directory does."""

    def __init__(self) -> None:
        self.steps: dict[int, tuple[StepMetrics, Sequence[Scored]]] = {}

    def drop(self, step: int) -> None:
        self.steps = {k: v for k, v in self.steps.items() if k < step}

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        if metrics.step in self.steps:
            raise ContractError(f"Step {metrics.step} was recorded twice. Close each step once.")
        self.steps[metrics.step] = (metrics, scored)

    def recorded(self) -> list[int]:
        return list(self.steps)

    def facts(self) -> list[Json]:
        """What served and local, interrupted and resumed runs must agree on."""
        return [
            [metrics.json(), [[*s.order, dict(s.rewards), dict(s.flags)] for s in scored]]
            for _, (metrics, scored) in sorted(self.steps.items())
        ]


def prompts_a_step(game: Game, n_steps: int, least: int = 1) -> int:
    """The fewest prompts a step, from ``least`` on, that whole clusters fill. Raises UsageError where none do."""
    tasks = game.tasks("train")
    largest = max(Counter(t.cluster for t in tasks).values())
    for prompts in range(max(largest, min(least, len(tasks))), 4 * max(largest, least)):
        try:
            plan(tasks, n_steps, prompts, 0, "train")
        except UsageError:
            continue
        return prompts
    plan(tasks, n_steps, largest, 0, "train")
    return largest


def slots(setup: Setup, specimens: Sequence[Specimen], n_steps: int = 3) -> Complaints:
    cure = RULES["slots"].cure
    try:
        prompts = prompts_a_step(setup.game, n_steps, least=4)
    except UsageError:
        sizes = Counter(t.cluster for t in setup.game.tasks("train"))
        yield f"Whole clusters, of sizes {sorted(set(sizes.values()))}, fill no step of a useful size. {cure}"
        return ""
    suggested = setup.game.tiny.settings.get("run.prompts_per_step", prompts)
    try:
        plan(setup.game.tasks("train"), n_steps, suggested, 0, "train")
    except UsageError:
        yield f"tiny.settings asks for {suggested} prompts a step, which whole clusters do not fill. Set another."
    ledgers = Ledger(), Ledger()
    one, other = (
        LocalReferee(
            setup, seed=7, split="train", n_steps=n_steps, prompts_per_step=prompts, group_size=2, recorder=ledger
        )
        for ledger in ledgers
    )  # fmt: skip
    clusters = {t.id: t.cluster for t in setup.game.tasks("train")}
    sizes = Counter(clusters.values())
    posed = [[one.slots(step) for step in order] for order in (range(n_steps), range(n_steps))]
    backwards = [other.slots(step) for step in reversed(range(n_steps))][::-1]
    for step, (first, again, back) in enumerate(zip(*posed, backwards, strict=True)):
        if not first == again == back:
            yield f"slots({step}) differs when asked again, by another referee, or in another order. {cure}"
            return ""
        held = Counter(clusters[slot.key.split("/", 3)[3]] for slot in first)
        if torn := sorted(c for c, n in held.items() if n != sizes[c]):
            yield f"slots({step}) holds a part of the clusters {torn[:2]}. {cure}"
    for step in range(n_steps):
        ids = [f"{slot.key}/{name}" for slot in one.slots(step) for name in "ab"]
        transcripts = {id_: specimens[(5 * i + step) % len(specimens)].words for i, id_ in enumerate(ids)}
        _finish(one, ids, transcripts)
        names = {id_: f"{id_[:-1]}other-{id_[-1]}" for id_ in reversed(ids)}
        for id_, name in names.items():  # the other is asked one by one, in reverse, under other names, each twice
            _finish(other, [name], {name: transcripts[id_]})
            _finish(other, [name], {name: transcripts[id_]})
        paid = one.settle(ids)
        for way, found_ in {
            "again": one.settle(ids),
            "in reverse": one.settle(ids[::-1])[::-1],
            "one by one": [one.settle([id_])[0] for id_ in ids],
            "twice in one call": one.settle([*ids, *ids])[len(ids) :],
        }.items():
            if found_ != paid:
                yield f"settle() of step {step} differs when asked {way}. {cure}"
        other.settle(list(names.values()))
        for referee in (one, other):
            referee.close(step, {})
            referee.close(step, {})
    if ledgers[0].facts() != ledgers[1].facts():
        yield f"Two referees that heard the same words, in other orders and under other names, differ. {cure}"
    return f"{n_steps} steps of {prompts} prompts"


def _finish(referee: LocalReferee, ids: Sequence[str], transcripts: Mapping[str, Sequence[str]]) -> None:
    """Say what is to be said, and then nothing, until each is done."""
    going = list(ids)
    for n in range(MOST_TURNS):
        texts = [transcripts[i][n] if n < len(transcripts[i]) else "" for i in going]
        replies = referee.reply(going, [n] * len(going), [Turn(text) for text in texts])
        going = [i for i, reply in zip(going, replies, strict=True) if isinstance(reply, Message)]
        if not going:
            return


def processes(setup: Setup) -> Complaints:
    game = setup.game
    here = facts(setup)
    there = fresh.call(remade, type(game), game.options, game.judges, setup.paid, setup.shadow, setup.detectors)
    for (fact, value), (_, again) in zip_longest(here, there, fillvalue=("the rest", "")):
        if value != again:
            yield f"{fact} differs in a new process with other string hashes. {RULES['processes'].cure}"
            return ""
    return f"{len(here)} answers"


def remade(
    cls: type[Game],
    options: BaseModel,
    judges: Mapping[str, Policy],
    paid: RewardChannel,
    shadow: Mapping[str, RewardChannel],
    detectors: Mapping[str, ExploitDetector],
) -> list[tuple[str, str]]:
    """The facts of a game made anew, as each run makes its own: what an instance holds need not travel."""
    return facts(Setup(cls(options, judges), paid, shadow, detectors))


def facts(setup: Setup, n_tasks: int = 12, fuzz: int = 40) -> list[tuple[str, str]]:
    """(what, JSON) of all that another process must find too, in the order in which one thing rests on another."""
    out: list[tuple[str, str]] = []

    def note(fact: str, value: Json) -> None:
        out.append((fact, json.dumps(value, sort_keys=True, default=repr)))

    game = setup.game
    for split in SPLITS:
        tasks = game.tasks(split)
        note(f"The order of tasks({split!r})", [t.id for t in tasks])
        for task in tasks:
            note(f"Task {task.id!r} of {split!r}", asdict(task))
    chosen = [(split, t) for split in SPLITS for t in sample(game.tasks(split), max(1, n_tasks // 3), split)]
    played: list[Specimen] = []
    for complaint in specimens_of(game, chosen, played):
        raise ContractError(complaint)
    note("What specimens() says", [[s.rollout.task.id, s.kind, s.words] for s in played])
    texts = garbage_texts(fuzz, played)
    rollouts = [s.rollout for s in played]
    start = [replace(rollouts[i % len(rollouts)], id=f"{rollouts[i % len(rollouts)].slot}/g{i}", steps=())
             for i in range(fuzz)]  # fmt: skip
    rollouts += converse(game, start, [[texts[(i + n) % fuzz] for n in range(MOST_TURNS)] for i in range(fuzz)])
    for r in rollouts:
        note(f"reply() to {r.words!r:.60}", [asdict(reply) for _, reply in r.steps])
    parts: Mapping[str, Callable[[Scored], Json]] = {
        "assess()": lambda s: asdict(s.assessment), "rewards()": lambda s: dict(s.rewards),
        "flags()": lambda s: dict(s.flags),
    }  # fmt: skip
    scored = score(setup, rollouts, [0] * len(rollouts))
    for name, part in parts.items():
        for s in scored:
            note(f"{name} of {s.rollout.words!r:.60}", part(s))
    return out
