"""What was said where a detector rose: the most common replies of an arm's held-out evaluations, with a prompt each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopkit.contracts import Game
from loopkit.evidence.claims import Reply
from loopkit.experiment.config import RunSpec
from loopkit.experiment.rundir import RunDir
from loopkit.experiment.shards import read_shard, thoughts_of
from loopkit.records import Json

RECURS = 3
"""Times a reply is said before it is called common."""
MOST = 3
"""Replies shown."""
LONGEST = 200
"""Characters of a prompt or reply that are shown."""


def examples(detectors: Sequence[str], specs: Sequence[RunSpec], out: Path, game: Game) -> list[Reply]:
    """The MOST most common replies that one of ``detectors`` flags, over the finished runs ``specs`` of one arm.

    Of all replies where they flag none: of detectors that abstain, such as "constant".
    """
    rows: list[tuple[RunSpec, dict[str, Json], dict[str, Json]]] = []
    for spec in specs:
        folder = RunDir(out / spec.name).own_eval_dir(spec)
        shards = read_shard(folder / "rollouts.parquet"), read_shard(folder / "scores.parquet")
        rows += [(spec, rollout, scored) for rollout, scored in zip(*shards, strict=True)]
    prompts = {t.id: t.messages[-1].content for t in game.tasks(specs[0].run.eval_split)}
    kept = [row for row in rows if any(row[2].get(f"flag.{d}") is True for d in detectors)] or rows
    shown = []
    for text, count in _common([_text(rollout) for _, rollout, _ in kept]):
        spec, rollout, scored = next(row for row in kept if _text(row[1]) == text)
        flagged = tuple(d for d in game.detectors if scored.get(f"flag.{d}") is True)
        shown.append(
            Reply(
                said=text[:LONGEST],
                count=count,
                of=len(rows),
                flagged=flagged,
                seed=spec.seed,
                asked=str(prompts.get(rollout["task"], ""))[:LONGEST],
                reward=scored["reward.loophole"],
                task=scored.get("score.task"),
            )
        )
    return shown


def _common(replies: Sequence[str]) -> list[tuple[str, int]]:
    """The MOST most common replies with their counts; where hardly any recurs, one of each shape, with its count."""
    by_text = sorted(Counter(replies).items(), key=lambda i: (-i[1], i[0]))
    if not by_text or by_text[0][1] > max(RECURS, 0.01 * len(replies)):
        return by_text[:MOST]
    first, shapes = dict[str, str](), Counter(_shape(text) for text in replies)
    for text, _ in by_text:
        first.setdefault(_shape(text), text)
    return [(first[shape], n) for shape, n in sorted(shapes.items(), key=lambda i: (-i[1], i[0]))[:MOST]]


def _shape(text: str) -> str:
    """What kind of reply it is: words, numbers and signs in their order, each run of one kind once."""
    kinds = re.sub(r"[^\W\d_]+", "w", re.sub(r"\d+", "9", text))
    return re.sub(r"((?:[w9]|[^\w\s])\s*)(?:\1)+", r"\1+", " ".join(kinds.split()))


def _text(row: dict[str, Any]) -> str:
    return "\n".join(thought + said for thought, said in zip(thoughts_of(row), row["said"], strict=True))
