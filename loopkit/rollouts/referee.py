"""The local referee: poses the slots, keeps every rollout's books, settles rewards, records steps."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from loopkit import seeding
from loopkit.contracts import Split
from loopkit.errors import RefereeError, UsageError
from loopkit.records import AS_ASKED, Done, Message, Overrides, Rollout, Scored, Slot, StepMetrics, Task, Turn
from loopkit.rollouts.metrics import step_metrics
from loopkit.rollouts.scoring import PAID, TRIES, Setup, advance, kept, score
from loopkit.rollouts.thoughts import parted

PLAIN = re.compile(r"[\w./:@+ -]{1,100}", re.ASCII)
"""What a client may call a rollout (which has no "/"), a metric or a timing: records and pages show it."""
MOST_NUMBERS = 1000
"""Metrics, or timings, of a step."""


Rates = Mapping[str, float | None]
"""Detector -> its rate in a step; None: not measured."""


class Recorder(Protocol):
    """Where a referee writes."""

    def drop(self, step: int) -> None:
        """Forget every record from ``step`` on."""

    def record(self, metrics: StepMetrics, scored: Sequence[Scored], timings: Mapping[str, float]) -> None:
        """Keep a closed step."""

    def recorded(self) -> Collection[int]:
        """The steps that are kept: a referee that takes up the records of a dead one knows them as closed."""


class LocalReferee:
    """A Referee in this process. ``order`` "shuffled" (training) reshuffles clusters each epoch; "listed" plays the
    split once, in order, in ``ceil(prompts / prompts_per_step)`` steps (evaluation). ``overrides``: what goes before
    the game's own; ``keep``: the tasks of the split that are posed; ``drawn``: those listed are drawn by the seed, in
    whole clusters, in place of the first of the split. ``opening``: what becomes of a dialogue's opening messages.
    ``stop`` is asked after each step, of the watched rates so far; ``past`` gives those on record.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        seed: int,
        split: Split,
        n_steps: int,
        prompts_per_step: int,
        group_size: int,
        recorder: Recorder,
        listed: int | None = None,
        drawn: bool = False,
        overrides: Overrides = AS_ASKED,
        keep: Callable[[Task], bool] = lambda task: True,
        opening: Callable[[Sequence[Message]], Sequence[Message]] = lambda messages: messages,
        stop: Callable[[Sequence[Rates]], bool] | None = None,
        past: Callable[[], Sequence[Rates]] = tuple,
    ) -> None:
        self.setup, self.seed, self.split, self.recorder = setup, seed, split, recorder
        self.overrides, self._opening = overrides, opening
        self._stop, self._past = stop, past
        self._rates: list[Rates] = []
        self.n_steps, self.prompts_per_step, self.group_size = n_steps, prompts_per_step, group_size
        tasks = [task for task in setup.game.tasks(split) if keep(task)]
        if not tasks:
            raise UsageError(f"the game has no tasks in split {split!r}: give it data, or choose another split.")
        if listed is not None:
            chosen = draw(tasks, listed, seed, split) if drawn else tasks[:listed]
            self._plan = [chosen[i : i + prompts_per_step] for i in range(0, len(chosen), prompts_per_step)]
            self.n_steps = len(self._plan)
        else:
            self._plan = plan(tasks, n_steps, prompts_per_step, seed, split)
        self._planned = self.n_steps
        self._open: dict[int, dict[str, Rollout]] = {}
        self._settled: dict[int, dict[str, Scored]] = {}
        self._counts: dict[int, Counter[tuple[str, tuple[str, ...]]]] = {}
        self._closed = set(recorder.recorded())
        self._keys: dict[int, dict[str, Task]] = {}

    def resume(self, step: int) -> None:
        """Drop every record from ``step`` on, on disk and in the books."""
        for books in (self._open, self._settled, self._counts):
            for s in [s for s in books if s >= step]:
                del books[s]
        self._closed = set(range(step))
        self.recorder.drop(step)
        if self._stop is not None:  # read after what is damaged was dropped
            self._rates = list(self._past())[:step]
        self._end()

    def _end(self) -> None:
        """``n_steps``: as planned, or what has been played once an intervention says to stop."""
        stopped = self._stop is not None and bool(self._rates) and self._stop(self._rates)
        self.n_steps = len(self._rates) if stopped else self._planned

    def slots(self, step: int) -> list[Slot]:
        """(P,) slots; in evaluation the last step may be shorter."""
        return [
            Slot(key, self.overrides.opening(tuple(self._opening(task.messages))))
            for key, task in self._slots(step).items()
        ]

    def _slots(self, step: int) -> dict[str, Task]:
        if not 0 <= step < self.n_steps:
            raise RefereeError(f"there is no step {step}: this run has steps 0 to {self.n_steps - 1}.")
        if step not in self._keys:
            self._keys[step] = {
                f"{self.split}/{step:06d}/{i:04d}/{task.id}": task for i, task in enumerate(self._plan[step])
            }
        return self._keys[step]

    def reply(self, ids: Sequence[str], n: Sequence[int], turns: Sequence[Turn]) -> list[Message | Done]:
        """(B,) replies. Repeating (id, n) with the same text repeats the answer; with another text it is refused."""
        pending: dict[str, tuple[Rollout, Turn]] = {}
        for id_, k, sent in zip(ids, n, turns, strict=True):
            thoughts = None if sent.thoughts is None else _storable(sent.thoughts)
            turn = replace(sent, text=_storable(sent.text), thoughts=thoughts)
            turn = parted(turn, self.overrides.markers)
            rollout = self._rollout(id_)
            if 0 <= k < len(rollout.steps):
                if rollout.steps[k][0].said != turn.said:
                    raise RefereeError(
                        f"turn {k} of {id_!r} was already played with another text. "
                        "Pick a new rollout name for a new attempt."
                    )
            elif rollout.done:
                raise RefereeError(
                    f"{id_!r} was over after {len(rollout.steps)} turns; this is turn {k}. Settle it, or pick a new "
                    "rollout name for a new attempt."
                )
            elif id_ in pending:
                raise RefereeError(f"{id_!r} is in this request twice. Ask for one turn of a rollout at a time.")
            elif k != len(rollout.steps):
                raise RefereeError(f"turn {k} of {id_!r} is not the next one: turn {len(rollout.steps)} is.")
            else:
                pending[id_] = (rollout, turn)
        if pending:
            rollouts, spoken = zip(*pending.values(), strict=True)
            for id_, rollout in zip(pending, advance(self.setup.game, rollouts, spoken, TRIES), strict=True):
                self._book(id_)[id_] = rollout
        out: list[Message | Done] = []
        for id_, k in zip(ids, n, strict=True):
            answer = self._rollout(id_).steps[k][1]
            out.append(self.overrides.shown(answer) if isinstance(answer, Message) else Done())
        return out

    def settle(self, ids: Sequence[str]) -> list[float]:
        """(B,) paid rewards. A rollout is assessed once; asking again gives the same number."""
        fresh: list[Rollout] = []
        seen: set[str] = set()
        for id_ in ids:
            rollout = self._rollout(id_)
            if not rollout.done:
                raise RefereeError(f"rollout {id_!r} is not finished: play it until the referee says done.")
            if id_ not in self._settled.get(_step(id_), {}) and id_ not in seen:
                seen.add(id_)
                fresh.append(rollout)
        counts = {s: Counter(self._counts.get(s, {})) for s in {_step(r.id) for r in fresh}}
        occurrences = []
        for rollout in fresh:
            key = (rollout.slot, rollout.said)
            occurrences.append(counts[_step(rollout.id)][key])
            counts[_step(rollout.id)][key] += 1
        for scored in score(self.setup, fresh, occurrences, TRIES):  # if this raises, the books are as they were
            self._settled.setdefault(_step(scored.rollout.id), {})[scored.rollout.id] = scored
        self._counts.update(counts)
        return [self._settled[_step(id_)][id_].rewards[PAID] for id_ in ids]

    def kept(self, ids: Sequence[str]) -> list[bool]:
        """(B,) settled rollouts -> (B,) whether a trainer learns from them: unless an intervention drops them."""
        return kept(self.setup, [self._settled[_step(id_)][id_] for id_ in ids])

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        """Record a step; closing it again is not an error, so that a lost answer may be asked for twice."""
        if step in self._closed:
            return
        for kind, numbers in (("metric", metrics), ("timing", timings or {})):
            if len(numbers) > MOST_NUMBERS or not all(PLAIN.fullmatch(name) for name in numbers):
                odd = next((name for name in numbers if not PLAIN.fullmatch(name)), f"{len(numbers)} names")
                raise RefereeError(
                    f"{odd[:100]!r} cannot name a {kind}: names are up to 100 letters, digits and . _ - / : @ + and "
                    f"blanks, {MOST_NUMBERS} at most."
                )
        slots = self._slots(step)
        settled = self._settled.get(step, {})
        played = Counter(s.rollout.slot for s in settled.values())
        missing = [f"{k}: {played[k]} of {self.group_size}" for k in slots if played[k] < self.group_size]
        kept: Counter[str] = Counter()
        surplus = []
        for scored in sorted(settled.values(), key=lambda s: s.order):
            kept[scored.rollout.slot] += 1
            if kept[scored.rollout.slot] > self.group_size:
                surplus.append(scored.rollout.id)
        scored_all = sorted(settled.values(), key=lambda s: s.order)
        measured = step_metrics(self.setup, step, scored_all, metrics, missing, surplus)
        self.recorder.record(measured, scored_all, timings or {})
        self._closed.add(step)  # only now: had recording failed, the books would still be here to close again
        for books in (self._open, self._settled, self._counts, self._keys):
            books.pop(step, None)
        if self._stop is not None:
            self._rates.append({name: rate.value if rate else None for name, rate in measured.rates.items()})
            self._end()

    def _book(self, id_: str) -> dict[str, Rollout]:
        return self._open.setdefault(_step(id_), {})

    def _rollout(self, id_: str) -> Rollout:
        step, slot = _step(id_), id_.rpartition("/")[0]
        if step in self._closed:
            raise RefereeError(f"step {step} is closed: {id_!r} comes too late.")
        task = self._slots(step).get(slot)
        if task is None:
            raise RefereeError(
                f"{id_[:200]!r} belongs to no slot of step {step}: ids are a slot's key, '/', and a name."
            )
        if not PLAIN.fullmatch(name := id_.rpartition("/")[2]):
            raise RefereeError(
                f"{name[:100]!r} cannot name a rollout: names are up to 100 letters, digits and . _ - : @ + and blanks."
            )
        return self._book(id_).get(id_) or Rollout(id_, task, seed=self.seed)


def _storable(text: str) -> str:
    """Lone surrogates, which no file can hold, become U+FFFD; anything else stays as it was said."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _step(id_: str) -> int:
    try:
        return int(id_.split("/", 2)[1])
    except (IndexError, ValueError) as error:
        raise RefereeError(f"{id_[:200]!r} is not a rollout id: ids are a slot's key, '/', and a name.") from error


def draw(tasks: Sequence[Task], prompts: int, seed: int, split: str) -> list[Task]:
    """At most ``prompts`` tasks of whole clusters, drawn by the seed; in the order of the split. All, if they fit."""
    clusters = Counter(task.cluster for task in tasks)
    chosen: set[str] = set()
    room = prompts
    for cluster in seeding.shuffled(clusters, seed, split, "evaluated"):
        if clusters[cluster] <= room:
            chosen.add(cluster)
            room -= clusters[cluster]
    if not chosen:
        raise UsageError(
            f"{prompts} held-out prompts hold no whole cluster of this game (the smallest has "
            f"{min(clusters.values())}). Set run.eval_prompts higher."
        )
    return [task for task in tasks if task.cluster in chosen]


def plan(tasks: Sequence[Task], n_steps: int, prompts: int, seed: int, split: str) -> list[list[Task]]:
    """(n_steps, P) tasks: clusters reshuffled each epoch, packed whole into steps, pure in (seed, step).

    A cluster that does not fit waits for the next step. Refused if P cannot be filled with whole clusters.
    """
    clusters: dict[str, list[Task]] = {}
    for task in tasks:
        clusters.setdefault(task.cluster, []).append(task)
    out: list[list[Task]] = []
    queue: deque[str] = deque()
    epoch = 0
    for _ in range(n_steps):
        step: list[Task] = []
        waiting: list[str] = []
        refills = 0
        used: set[str] = set()
        while len(step) < prompts:
            if not queue:
                queue.extend(seeding.shuffled(clusters, seed, split, "order", epoch))
                epoch += 1
                refills += 1
                if refills > 2:
                    raise UsageError(
                        f"{prompts} prompts a step cannot be filled with whole clusters of this game "
                        f"(sizes {sorted({len(c) for c in clusters.values()})}, {len(tasks)} prompts). "
                        "Set run.prompts_per_step to a multiple of the cluster size, at most the number of prompts."
                    )
            cluster = queue.popleft()
            if cluster in used or len(clusters[cluster]) > prompts - len(step):
                waiting.append(cluster)
                continue
            used.add(cluster)
            step += clusters[cluster]
        queue.extendleft(reversed(waiting))
        out.append(step)
    return out
