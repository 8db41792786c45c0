"""What a probe may be told, and the rows and child it works with."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopkit.errors import UsageError, nearest
from loopkit.parts.data import read_rows
from loopkit.rewards import columns as of_row
from loopkit.rewards import libraries
from loopkit.rewards.signatures import Table

ROWS = 100
REPLIES = 30_000
SECONDS = 120.0
DEADLINE = 10.0
SEARCH = 4000


@dataclass(frozen=True)
class Settings:
    """``reward``: what is probed. ``data``: a file of rows, or the rows. ``good``: a column of replies that should be
    paid in full. ``columns``: parameter -> column. ``replies`` and ``seconds`` bound what is asked, ``deadline`` a
    call, ``search`` the replies that searching may take (0: none); ``code``: read the code's texts.
    """

    reward: str
    data: str | Path | Sequence[Mapping[str, Any]] | None = None
    trusted: str = ""
    reference: str = ""
    prompt: str = ""
    good: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: int = ROWS
    replies: int = REPLIES
    seconds: float = SECONDS
    deadline: float = DEADLINE
    search: int = SEARCH
    code: bool = True


def read(settings: Settings) -> list[dict[str, Any]]:
    """The rows, spread over the file, at most ``settings.rows``; those of a set of reasoning-gym are made.

    Raises UsageError where there are none, or rows and a reward that brings its own.
    """
    s = settings
    if s.reward.startswith(libraries.GYM):
        if s.data is not None:
            raise UsageError("reasoning-gym makes its own rows. Leave --data out, or name a function for --reward.")
        every = libraries.rows(s.reward)
    elif s.data is None:
        every = []  # a taskset brings its own: the child is asked
    elif isinstance(s.data, (str, Path)):
        if not Path(s.data).is_file():
            raise UsageError(f"data file {str(s.data)!r} does not exist. Name a JSONL or Parquet file.")
        every = read_rows(str(s.data), ())
    else:
        every = [dict(row) for row in s.data]
    return spread(every, s.rows)


def spread(every: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many rows, drawn from all by a fixed seed and in their order: regular files have no regular sample."""
    drawn = random.Random(0).sample(range(len(every)), min(most, len(every)))
    return [every[k] for k in sorted(drawn)]


def table(settings: Settings, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Which column holds what: as named, else by the usual names. Raises UsageError where a name is none of a column,
    or no column holds a question.
    """
    s = settings
    there = tuple(dict.fromkeys(c for row in rows for c in row))
    for option, column in [("--prompt", s.prompt), ("--reference", s.reference), ("--good", s.good),
                           *((f"--column {p}", c) for p, c in s.columns.items())]:  # fmt: skip
        if column and column not in there:
            raise UsageError(f"{option}: the rows have no column {column!r}. {nearest(column, there)}")
    reference = s.reference or of_row.first_of(of_row.REFERENCES, there)
    prompt = s.prompt or of_row.first_of([c for c in of_row.PROMPTS if c != reference], there)
    if not prompt:
        raise UsageError(
            f"no column of the rows is called like a question ({', '.join(of_row.PROMPTS[:4])}, …); they have "
            f"{', '.join(there) or 'none'}. Say which it is: --prompt COLUMN."
        )
    first = next((row[prompt] for row in rows if row.get(prompt) is not None), "")
    return Table(there, not isinstance(first, str), prompt, reference, dict(s.columns))
