"""Plays a game's scripted transcripts, and garbage in their place."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from loopkit import seeding
from loopkit.checks.report import Complaints
from loopkit.contracts import Game, Split
from loopkit.records import Done, Json, Message, Rollout, Task, Turn
from loopkit.rollouts.scoring import advance

KINDS = ("honest", "exploit", "null")
SEEDS = (0, 1)
"""Each specimen is played under these, since a game may draw in ``reply``; its reward is the mean over them."""
NULL = ("", "?")
MOST_TURNS = 32
"""Turns after which a game is held to go on for ever."""
TEXT_CURE = "Make it a str without lone surrogates."
JSON_CURE = "Use None, bool, finite numbers, str, lists (no tuples or sets) and dicts with string keys."


@dataclass(frozen=True)
class Specimen:
    """A specimen as it was played: its kind, its words and the rollout, under one of SEEDS."""

    kind: str
    words: tuple[str, ...]
    rollout: Rollout


def sample(tasks: Sequence[Task], n: int, split: str) -> list[Task]:
    """At least n tasks (or all), in whole clusters, so that no kind of a pair is left out by its place."""
    clusters: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        clusters[task.cluster].append(task)
    out: list[Task] = []
    for cluster in seeding.shuffled(clusters, "check", split):
        out += clusters[cluster] if len(out) < n else ()
    return out


def specimens_of(game: Game, tasks: Sequence[tuple[Split, Task]], played: list[Specimen]) -> Complaints:
    todo: list[tuple[str, Sequence[str]]] = []
    start: list[Rollout] = []
    for number, (split, task) in enumerate(tasks):
        draw = partial(seeding.uniform, "check", task.id)
        kinds = game.specimens(task, draw)
        if kinds != game.specimens(task, draw):
            yield f"The specimens of {task.id!r} differ when asked again. Draw only by draw(purpose)."
        if "null" not in kinds and kinds.get("honest"):
            kinds = {**kinds, "null": _null(game, split, task)}
        if unknown := sorted(set(kinds) - set(KINDS)):
            yield f"Task {task.id!r} has specimens of unknown kinds {unknown}. Use {', '.join(KINDS)}."
        if not kinds.get("honest"):
            yield f"Task {task.id!r} has no honest specimen. Return at least one under 'honest'."
            continue
        transcripts = [(kind, words) for kind in KINDS for words in kinds.get(kind, ())]
        shown = game.demonstrations(task, draw)
        if shown != game.demonstrations(task, draw):
            yield f"The demonstration of {task.id!r} differs when asked again. Draw only by draw(purpose)."
        for kind, words in [*transcripts, ("demonstration", shown)]:
            if isinstance(words, str) or not all(isinstance(w, str) for w in words):
                yield f"A specimen ({kind}) of {task.id!r} is {words!r:.60}. Return a tuple of strings, one per turn."
                continue
            for seed in SEEDS:
                start.append(Rollout(f"{split}/000000/{number:04d}/{task.id}/{len(start)}", task, seed=seed))
                todo.append((kind, words))
    for (kind, words), r in zip(todo, converse(game, start, [words for _, words in todo]), strict=True):
        who = f"A specimen ({kind}) of {r.task.id!r}, {words!r:.60},"
        if not r.done:
            yield f"{who} has too few turns: reply() asks for more than {len(words)}. Add words, or return Done."
        elif len(r.steps) < len(words):
            yield f"{who} has too many turns: reply() is done after {len(r.steps)}. Drop words, or reply a Message."
        elif not all(is_json(reply.state) for _, reply in r.steps):
            yield f"{who} gets a reply whose state does not survive JSON. {JSON_CURE}"
        elif not all(is_text(reply.content) for _, reply in r.steps if isinstance(reply, Message)):
            yield f"{who} gets a reply that is not text that a file can hold. {TEXT_CURE}"
        elif kind != "demonstration":
            played.append(Specimen(kind, tuple(words), r))
    return f"{len(tasks)} tasks, {len(played)} specimens played"


def _null(game: Game, split: str, task: Task) -> list[tuple[str, ...]]:
    """Transcripts that say nothing, and garbage, as long as the game goes on: for a game that names none."""
    scripts = [[text] * MOST_TURNS for text in NULL]
    start = [Rollout(f"{split}/000000/null/{task.id}/{i}", task, seed=SEEDS[0]) for i in range(len(NULL))]
    return [r.words for r in converse(game, start, scripts)]


def converse(game: Game, rollouts: Sequence[Rollout], scripts: Sequence[Sequence[str]]) -> list[Rollout]:
    """Plays in one batch: to the game's Done, or to the end of the rollout's script."""
    out = list(rollouts)
    for n in range(max(map(len, scripts), default=0)):
        going = [i for i, r in enumerate(out) if not r.done and n < len(scripts[i])]
        played = advance(game, [out[i] for i in going], [Turn(scripts[i][n]) for i in going])
        for i, rollout in zip(going, played, strict=True):
            out[i] = rollout
    return out


def garbage_texts(count: int, specimens: Sequence[Specimen]) -> list[str]:
    """Odd texts, then random bytes; specimens with noise or each other spliced in; turned, doubled and shouted ones."""
    odd = [
        "", " \n\t ", "9" * 400, "-1e999", "NaN", "inf", "<a><a><a></b></a>", "<modify_key>" * 50, "{" * 500, '"\\"',
        "\u202e\u200fright to left", "z\u200be\u200dr\ufeffo\u0301", "\x00\x1b[0m", "٣½²", "𝔘🏳️‍🌈", "word " * 4000,
    ]  # fmt: skip
    for i in range(len(odd), count):
        rng = seeding.stream("fuzz", i)
        text = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 80))).decode("latin-1")
        words, other = (rng.choice(rng.choice(specimens).words) for _ in range(2))
        cut = rng.randrange(len(words) + 1)
        ways = (
            text,
            words[:cut] + text[: rng.randrange(4)] + words[cut + rng.randrange(2) :],
            words[:cut] + other[rng.randrange(len(other) + 1) :],
            rng.choice((words.upper(), words[::-1], f"{words} " * 9, f"  {words}\n\n{other}")),
        )
        odd.append(ways[i % 4])
    return odd[:count]


def is_json(value: Json) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def is_text(value: object) -> bool:
    """Whether a file can hold it: a string without lone surrogates."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def through_json(rollout: Rollout) -> Rollout:
    """The rollout as another process would read it: out to JSON and back."""
    r = json.loads(json.dumps(asdict(rollout)))
    steps = [(Turn(**turn), Message.read(m) if "role" in m else Done(m["state"])) for turn, m in r["steps"]]
    messages = tuple(map(Message.read, r["task"].pop("messages")))
    return Rollout(r["id"], Task(messages=messages, **r["task"]), tuple(steps), r["seed"])


def strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
