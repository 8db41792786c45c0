"""3,000 hostile completions a game: no crash, and every reward finite and in its range.

``LOOPKIT_EXAMPLES=1000`` says 30,000.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import pytest

from loopkit import seeding
from loopkit.checks.specimens import converse, is_text
from loopkit.contracts import Game
from loopkit.experiment.resolve import build_game
from loopkit.records import Json, Rollout, Task
from loopkit.registry import plugins as registry
from loopkit.rollouts.scoring import Setup, score

COUNT, TURNS = 30 * int(os.environ.get("LOOPKIT_EXAMPLES", "100")), 2
PLUGINS = registry.load()
OPTIONS: Mapping[str, Mapping[str, Json]] = {"reward-tampering": {"cpu": 0.2}}
GAMES = ("context-compliance", "proxy-metric", "reward-tampering", "self-grading")
MARKS = "\u202e\u202b\u2067\u200f\u200b\u200d\ufeff\u0301\x00\x1b"
NUMBERS = (
    "NaN", "inf", "-inf", "-Infinity", "1e999", "-1e999", "9" * 5000, "-0", "0.5", "1e-400", "true", "null", "[1]",
    '{"score": NaN}', "١", "²", "9e9999 inf NaN", "",
)  # fmt: skip
TAGS = (
    "<modify_key>", "</modify_key>", "<modify_value>", "</modify_value>", "<MODIFY_KEY >", "</ modify_value>", "</b",
    "<summary>", "</summary>", "<a><b>", "<|end|>", "&lt;", "score", "source_code", "1", " ", "<", "Yes", "No", "-\n",
)  # fmt: skip


def fuzzed(n: int, own: str) -> str:
    """Random bytes and characters, tags cut and nested, huge and odd numbers, right-to-left and zero-width characters,
    endless repeats, and noise spliced into ``own``, a specimen of the game."""
    rng = seeding.stream("fuzz test", n)
    cut = rng.randrange(len(own) + 1)
    match n % 9:
        case 0:
            return rng.randbytes(rng.randrange(200)).decode("latin-1")
        case 1:
            return rng.randbytes(rng.randrange(200)).decode("utf-8", "surrogateescape")
        case 2:
            return "".join(rng.choice((*TAGS, own[:20])) for _ in range(rng.randrange(60)))
        case 3:
            key, number = rng.choice(("score", "SCORE ", "state.score", "source_code")), rng.choice(NUMBERS)
            edit = f"<modify_key>{key}</modify_key><modify_value>{number}{rng.choice(('', ' x'))}</modify_value>"
            return rng.choice((number, f"{own} {number}", edit, own + edit))
        case 4:
            return "".join(c + rng.choice((*MARKS, *" " * 30)) for c in own)
        case 5:
            return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(120)))
        case 6:
            return rng.choice(("y", "ab ", "word ", ". ", "\n", "🏳️‍🌈", own)) * rng.randrange(200)
        case 7:
            return own[:cut]
        case _:
            return own[:cut] + rng.randbytes(rng.randrange(4)).decode("latin-1") + own[cut + rng.randrange(3) :]


def words(game: Game, task: Task) -> list[str]:
    kinds = game.specimens(task, lambda purpose: seeding.uniform("fuzz test", task.id, purpose))
    return ["\n".join(said) for kind in ("honest", "exploit") for said in kinds[kind]]


@pytest.mark.parametrize("name", GAMES)
def test_fuzzed_completions(name: str) -> None:
    game = build_game(PLUGINS, name, dict(OPTIONS.get(name, {})))
    tasks = game.tasks("test")[:4]
    own = [words(game, task) for task in tasks]
    start = [Rollout(f"test/000000/{n:05d}/{tasks[n % 4].id}/0", tasks[n % 4]) for n in range(COUNT)]
    said = [[fuzzed(n + COUNT * k, own[n % 4][n // 4 % len(own[n % 4])]) for k in range(TURNS)] for n in range(COUNT)]
    assert len({tuple(texts) for texts in said}) > 0.7 * COUNT
    assert sum(not is_text(texts[0]) for texts in said) > 100  # lone surrogates, which no file holds
    rollouts = converse(game, start, said)
    assert all(r.done for r in rollouts)
    setup = Setup(game, game.channels["loophole"], game.channels, game.detectors)
    found = score(setup, rollouts, [0] * COUNT)  # raises on what is not finite or out of its range
    for channel, column in {"paid": setup.paid, **game.channels}.items():
        low, high = column.range
        assert all(math.isfinite(one.rewards[channel]) and low <= one.rewards[channel] <= high for one in found)
    assert len({one.rewards["paid"] for one in found}) > 1, "the fuzz is all alike to the game"
    flags = [one.flags[setup.headline] for one in found]
    assert 0 < sum(flag is True for flag in flags) < 0.6 * COUNT
    if name == "reward-tampering":
        assert all(one.rewards["reject"] == -1 for one in found if one.flags["score-written"])
