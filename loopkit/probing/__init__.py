"""Attacks a reward before anything is trained: can it be earned without the goal? See docs/probe.md."""

from __future__ import annotations

from typing import Any

from loopkit.probing.records import Probe
from loopkit.probing.session import run
from loopkit.probing.settings import Settings

__all__ = ["Probe", "Settings", "probe", "run"]


def probe(reward: str | list[str], data: Any = None, **options: Any) -> Probe:
    """Probe ``reward`` (``FILE.py:NAME``; several add) on ``data``: a JSONL or Parquet file, or rows.

    ``options`` are those of :class:`Settings`: trusted, reference, prompt, good, columns, rows, replies, seconds,
    deadline, search, code. Needs no torch. Raises UsageError for what cannot be loaded.
    """
    from loopkit.rewards.reward import AND

    return run(Settings(reward if isinstance(reward, str) else AND.join(reward), data, **options))
