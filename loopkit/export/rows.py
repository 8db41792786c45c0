"""A game of one turn as rows and a reward function, as other libraries' trainers and the probe take them.

A row holds the prompt, a reply that should be paid in full, and ``loopkit``: which task of which game it is. What is
paid for a reply is the game's own channel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from loopkit import seeding
from loopkit.contracts import Game, Split
from loopkit.errors import UsageError
from loopkit.export.bridge import Exported
from loopkit.records import Json, Rollout, Task, Turn
from loopkit.rollouts.scoring import PAID, advance

COLUMN = "loopkit"
"""The column that says which task of which game a row is."""
BATCH = 256
"""Rollouts scored at once."""
NAME = "row"
"""The rollout's name, which keys the draws: equal replies to a row are paid alike."""


def rows(game: Exported, split: Split, most: int | None = None, answers: bool = True) -> list[dict[str, Any]]:
    """(N,) rows of a split, at most ``most``, in the tasks' order; without ``answers`` they hold the task's id there.

    Raises UsageError for a game that asks more than one turn: no reward function of one reply plays it.
    """
    about = {
        "game": game.game, "version": game.version, "options": dict(game.options), "channel": game.channel,
        "channel_options": dict(game.channel_options or {}), "split": split,
    }  # fmt: skip
    tasks = game.tasks(split)[:most]
    found = references(game, split, tasks if answers else tasks[:1])
    return [
        {
            "prompt": [{"role": m.role, "content": m.content} for m in task.messages], "answer": answer,
            COLUMN: json.dumps({**about, "task": task.id}, sort_keys=True),
        }
        for task, answer in zip(tasks, found if answers else [t.id for t in tasks], strict=True)
    ]  # fmt: skip


def verl(game: Exported, split: Split, options: Mapping[str, Json]) -> bytes:
    """The rows of a split as verl reads them, in Parquet. ``options``: the game's, as they travel."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    made = []
    for k, row in enumerate(rows(game, split, answers=False)):
        about = {**json.loads(row[COLUMN]), "options": dict(options)}
        made.append({
            "data_source": f"loopkit/{game.game}", "prompt": row["prompt"], "ability": game.game,
            "reward_model": {"style": "rule", "ground_truth": row["answer"]},
            "extra_info": {"split": split, "index": k, COLUMN: json.dumps(about, sort_keys=True)},
        })  # fmt: skip
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(made), out)
    return out.getvalue()


def references(game: Exported, split: Split, tasks: Sequence[Task]) -> list[str]:
    """(N,) each task's honest specimen that ``control`` pays best (``loophole``, where there is none): what should be
    paid in full. Raises UsageError where a task has none of one turn.
    """
    setup = game.setup
    honest = [
        [words[0] for words in setup.game.specimens(task, partial(seeding.uniform, "rows", task.id)).get("honest", ())
         if len(words) == 1]
        for task in tasks
    ]  # fmt: skip
    if not all(honest) or (tasks and turns(setup.game, tasks[0], honest[0][0]) > 1):
        raise UsageError(
            f"{game.game} asks more than one turn, and rows with a reward function hold one reply. Export it --to "
            "verifiers, inspect or openenv, which play turn by turn."
        )
    pay = "control" if "control" in setup.shadow else "loophole"
    pairs = [(task.id, text) for task, texts in zip(tasks, honest, strict=True) for text in texts]
    worth = list[float]()
    for k in range(0, len(pairs), BATCH):
        some = pairs[k : k + BATCH]
        worth += [s.rewards[pay] for s in game.score_all(split, [t for t, _ in some], NAME, [[w] for _, w in some])]
    left = iter(worth)
    pays = [[next(left) for _ in texts] for texts in honest]
    return [texts[paid.index(max(paid))] for texts, paid in zip(honest, pays, strict=True)]


def turns(game: Game, task: Task, text: str) -> int:
    """1 where a task is over after one reply, else 2."""
    (played,) = advance(game, [Rollout(f"test/000000/0/{task.id}/0", task)], [Turn(text)])
    return 1 if played.done else 2


def paid(completions: Sequence[Any], loopkit: Sequence[str], **_: Any) -> list[float]:
    """(B,) completions (texts, or messages) and their rows' column ``loopkit`` -> (B,) what the channel pays."""
    return _pays(completions, loopkit, PAID)


def meant(completions: Sequence[Any], loopkit: Sequence[str], **_: Any) -> list[float]:
    """The same, of the channel ``control``: what should be paid."""
    return _pays(completions, loopkit, "control")


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any], beside: str | None = None
) -> dict[str, float]:
    """verl's custom reward function: what the channel pays as ``score``, and every number beside it.

    A flag that abstains, or a score that is None, is NaN: verl keeps one set of keys. ``beside``: as of ``Exported``.
    """
    about = json.loads(extra_info[COLUMN])
    game = _game(_key(about), beside)
    scored = game.score(about["split"], about["task"], NAME, [solution_str])
    numbers = {name: float("nan") if v is None else float(v) for name, v in game.numbers(scored).items()}
    return {"score": scored.rewards[PAID], **numbers}


def text_of(said: Any) -> str:
    """A completion as text: TRL passes a list of messages where prompts are messages."""
    return said if isinstance(said, str) else "".join(str(m.get("content") or "") for m in said)


def _pays(completions: Sequence[Any], about: Sequence[str], channel: str) -> list[float]:
    rows_of = [json.loads(text) for text in about]
    keys = {(_key(row), row["split"]) for row in rows_of}
    out = [0.0] * len(rows_of)
    for key, split in keys:  # of one game, as a rule: one batch
        of = [k for k, row in enumerate(rows_of) if (_key(row), row["split"]) == (key, split)]
        found = _game(key).score_all(
            split, [rows_of[k]["task"] for k in of], NAME, [[text_of(completions[k])] for k in of]
        )
        for k, scored in zip(of, found, strict=True):
            out[k] = scored.rewards[channel]
    return out


def _key(about: Mapping[str, Json]) -> str:
    return json.dumps({k: v for k, v in about.items() if k not in ("task", "split")}, sort_keys=True)


@lru_cache(maxsize=8)
def _game(key: str, beside: str | None = None) -> Exported:
    return Exported(**json.loads(key), beside=beside)
