"""What was said where a detector rose: the most common replies of an arm's held-out evaluations, with a prompt each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit.config import RunSpec
from loopkit.contracts import Game
from loopkit.records import Json
from loopkit.rundir import RunDir, read_shard
from loopkit.runner import checkpoint_of

MOST = 3
"""Replies shown of a detector."""
LONGEST = 200
"""Characters of a prompt or reply that are shown."""


@dataclass(frozen=True)
class Example:
    """A reply said ``count`` times among ``of`` that the detector flags (or, of one that flags none, of all)."""

    detector: str
    said: str
    count: int
    of: int
    seed: int
    asked: str
    reward: float
    task: float | None


def examples(detectors: Sequence[str], specs: Sequence[RunSpec], out: Path, game: Game) -> list[Example]:
    """At most MOST replies of each detector, the most common first, over the finished runs ``specs`` of one arm."""
    rows: list[tuple[RunSpec, dict[str, Json], dict[str, Json]]] = []
    for spec in specs:
        folder = RunDir(out / spec.name).eval_dir(spec.game, spec.run.eval_split, checkpoint_of(spec))
        shards = read_shard(folder / "rollouts.parquet"), read_shard(folder / "scores.parquet")
        rows += [(spec, said, scored) for said, scored in zip(*shards, strict=True)]
    asked = {t.id: t.messages[-1].content for t in game.tasks(specs[0].run.eval_split)}
    shown = []
    for name in detectors:
        flagged = [row for row in rows if row[2].get(f"flag.{name}") is True] or rows
        counts = Counter(_text(said) for _, said, _ in flagged)
        for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST]:
            spec, said, scored = next(row for row in flagged if _text(row[1]) == text)
            shown.append(
                Example(
                    name, text[:LONGEST], count, len(flagged), spec.seed, str(asked.get(said["task"], ""))[:LONGEST],
                    scored["reward.loophole"], scored.get("score.task"),
                )
            )  # fmt: skip
    return shown


def _text(row: dict[str, Any]) -> str:
    return "\n".join(row["said"])
