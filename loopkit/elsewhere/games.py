"""Logged dialogues as rollouts of a game: matched by prompt, played again through the game's own replies.

A dialogue that is not a rollout of the game is counted with its reason, and never adapted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from loopkit.contracts import SPLITS, Game
from loopkit.elsewhere.findings import Audit, Found, Number, assemble, number, paid_column
from loopkit.elsewhere.formats import Log
from loopkit.elsewhere.judging import Judged
from loopkit.elsewhere.parts import Logged
from loopkit.errors import UsageError
from loopkit.experiment.resolve import build_game, channels_of, detectors_of
from loopkit.records import Done, Json, Message, Rollout, Scored, Task, Turn
from loopkit.registry import plugins as registry
from loopkit.rollouts.metrics import score_columns
from loopkit.rollouts.scoring import PAID, TRIES, Setup, advance, all_clues, readable, score
from loopkit.stats.rates import share

Key = tuple[tuple[str, str], ...]
ROLE_MARK = re.compile(r"<\|(system|user|assistant)\|>")
MARK = re.compile(r"<\|[^<>|\n]{1,40}\|>|<(?:start|end)_of_turn>|<bos>|</?s>|\[/?INST\]")
ROLE_LINE = re.compile(r"^(system|user|assistant|model)[ \t]*$", re.MULTILINE)
"""What common chat templates part messages by."""


@dataclass(frozen=True)
class Matched:
    """``scored`` (M,) rollouts and their places in the log's rows; ``reasons``: why the others are none."""

    places: Sequence[int]
    scored: Sequence[Scored]
    reasons: Mapping[str, int]


def match(setup: Setup, rows: Sequence[Logged], seed: int = 0) -> Matched:
    """Which rows are rollouts of the game's tasks, scored.

    Rows of one task and step are one slot; draws are keyed by the step and by the place of the first of them.
    """
    tasks = _tasks(setup.game)
    reasons: Counter[str] = Counter()
    slots: dict[tuple[int, str], int] = {}
    open_: dict[int, Rollout] = {}
    for place, row in enumerate(rows):
        key = _keys(row)
        candidates = {task.id: (split, task) for k in key for split, task in tasks.get(k, ())}
        if row.prompt is None:
            reasons["it has no prompt"] += 1
        elif not candidates:
            reasons["its prompt is none of the game's tasks"] += 1
        elif len(candidates) > 1:
            reasons["several tasks of the game have its prompt"] += 1
        else:
            ((split, task),) = candidates.values()
            step = row.step or 0
            first = slots.setdefault((step, task.id), place)
            slot = f"{split}/{step:06d}/{first:04d}/{task.id}"
            open_[place] = Rollout(f"{slot}/{place:06d}", task, seed=seed)
    done: dict[int, Rollout] = {}
    while open_:
        turns = [Turn(rows[place].said[len(rollout.steps)]) for place, rollout in open_.items()]
        played = dict(zip(open_, advance(setup.game, list(open_.values()), turns, TRIES), strict=True))
        open_ = {}
        for place, rollout in played.items():
            row, n, answer = rows[place], len(rollout.steps), rollout.steps[-1][1]
            if isinstance(answer, Done):
                if n < len(row.said):
                    reasons["it goes on where the game is over"] += 1
                else:
                    done[place] = rollout
            elif n == len(row.said):
                reasons["it ends before the game does"] += 1
            elif row.between[n - 1].strip() != answer.content.strip():
                reasons["what it was answered is not what the game answers"] += 1
            else:
                open_[place] = rollout
    ordered = sorted(done)
    before, occurrences = Counter[tuple[str, tuple[str, ...]]](), list[int]()
    for place in ordered:
        same = (done[place].slot, done[place].said)
        occurrences.append(before[same])
        before[same] += 1
    return Matched(ordered, score(setup, [done[p] for p in ordered], occurrences, TRIES), dict(reasons))


def judge(setup: Setup, rows: Sequence[Logged], seed: int, paid: str | None) -> Judged:
    """Rows of one run made elsewhere, scored by a game. ``paid``: the column of what its trainer was paid."""
    matches = match(setup, rows, seed)
    scored = []
    for place, one in zip(matches.places, matches.scored, strict=True):
        logged = rows[place].numbers.get(paid) if paid else None
        own = {n: v for n, v in one.rewards.items() if n != PAID}
        scored.append(replace(one, rewards={**own, PAID: logged} if logged is not None else own))
    if len({PAID in one.rewards for one in scored}) > 1:  # of some rows only: then it is no column
        scored = [replace(one, rewards={n: v for n, v in one.rewards.items() if n != PAID}) for one in scored]
    lost = {f"a match with the game ({why})": n for why, n in matches.reasons.items()}
    return Judged(scored, [rows[place].step for place in matches.places], lost)


def set_up(name: str, options: Mapping[str, Json], data: str | None = None) -> Setup:
    """A game as logs are judged by it: every channel at its defaults, every detector, other distributions' too."""
    plugins = registry.load()
    built = build_game(plugins, name, {**options, **({} if data is None else {"data": data})})
    others = {n: plugins.build(plugins.detectors(name)[n]) for n in detectors_of(plugins, built, name)}
    paid = next(iter(built.channels.values()))
    return Setup(built, paid, channels_of(plugins, built, name), {**built.detectors, **others})


def audit(setup: Setup, name: str, log: Log, reward: str | None = None) -> Audit:
    """The game's detectors and every shadow channel on the rows that are its rollouts.

    Raises UsageError where no row is.
    """
    matches = match(setup, log.rows)
    total = len(log.rows)
    if not matches.scored:
        why = "; ".join(f"{n} of {total}: {reason}" for reason, n in matches.reasons.items())
        raise UsageError(
            f"no logged dialogue is a rollout of {name} with these options ({why}). Give the options the log was made "
            "with (--set game.…, --data), or leave --game out for the detectors that need no game."
        )
    clusters = [s.rollout.task.cluster for s in matches.scored]
    matched = replace(log, rows=tuple(log.rows[p] for p in matches.places))
    clues = [all_clues(s.rollout, s.assessment) for s in matches.scored]
    columns: Found = {
        n: (d, [s.flags[n] for s in matches.scored], readable(n, d, clues)) for n, d in setup.detectors.items()
    }
    base = assemble(matched, columns, None, [], clusters)
    paid = paid_column(matched, reward, base.unseen)
    channels: list[Number] = []
    agreement = {}
    for channel in [c for c in matches.scored[0].rewards if c != PAID]:
        values = [s.rewards[channel] for s in matches.scored]
        channels.append(number(channel, values, clusters, base.thirds))
        if paid is not None:
            same = [
                None if (v := r.numbers.get(paid)) is None else float(abs(v - x) < 1e-6)
                for r, x in zip(matched.rows, values, strict=True)
            ]
            agreement[channel] = share(same, clusters)
    scores = [
        number(f"score {n}", column, clusters, base.thirds, bounded=True)
        for n, column in score_columns(matches.scored).items()
    ]
    about = {"name": name, "rows": total, "matched": len(matches.scored), "unmatched": matches.reasons}
    return replace(base, game=about, channels=channels, agreement=agreement, reward=paid,
                   numbers=[*scores, *base.numbers])  # fmt: skip


@lru_cache(maxsize=2)  # a training that is watched asks at every step
def _tasks(game: Game) -> dict[Key, list[tuple[str, Task]]]:
    out: dict[Key, list[tuple[str, Task]]] = {}
    for split in SPLITS:
        try:
            tasks = game.tasks(split)
        except UsageError:  # a split without rows
            continue
        for task in tasks:
            out.setdefault(_key(task.messages), []).append((split, task))
    return out


def _key(messages: Sequence[Message]) -> Key:
    return tuple((m.role, m.content.strip()) for m in messages)


def _keys(row: Logged) -> set[Key]:
    """The openings a row may stand for: its messages, and those without a system message before them.

    A prompt that is one text may be what a chat template made of messages: its marks and role names part it.
    """
    prompt = row.prompt or ()
    out = {_key(prompt)}
    if len(prompt) == 1:
        text = MARK.sub("\n", ROLE_MARK.sub(r"\n\1\n", prompt[0].content))
        before, *parts = ROLE_LINE.split(text)
        pairs = [(role, spoken.strip()) for role, spoken in zip(parts[::2], parts[1::2], strict=True)]
        if not before.strip() and pairs and not pairs[-1][1]:  # ends by asking for a reply
            pairs.pop()
        out.add(tuple(pairs) if not before.strip() and pairs else (("user", text.strip()),))
    return out | {key[1:] for key in out if len(key) > 1 and key[0][0] == "system"}
