"""Sampling with a budget for thoughts apart from the answer's.

Thoughts are sampled up to their budget. Where it ends within a block, the tokens that close the block are put in, and
the answer is sampled after them; what was put in is marked, so that nothing is learnt from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from loopkit.policy.decode import Sampled, Sampling
from loopkit.rollouts.thoughts import Markers, block, part

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Budget:
    """A row's ``thoughts`` in tokens, what ``closes`` a block that its prompt opened (None: none), and its markers."""

    thoughts: int
    closes: str | None
    markers: Markers


@dataclass(frozen=True, slots=True)
class Said:
    """(T,) ids and log-probabilities of a turn, how it ended, and where tokens were put in (``Turn.inserted``)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish
    inserted: tuple[int, int] | None = None


Sample = Callable[[Sequence[Sampling]], list[Sampled]]
Text = Callable[[Sequence[int]], str]


def speak(
    rows: Sequence[Sampling],
    budgets: Sequence[Budget | None],
    sample: Sample,
    text: Text,
    encode: Callable[[str], Sequence[int]],
) -> list[Said]:
    """(B,) rows and budgets -> (B,) turns; a row without a budget is sampled in one go. ``max_tokens`` of a row with a
    budget is its answer's."""
    first = [row if b is None else replace(row, max_tokens=b.thoughts) for row, b in zip(rows, budgets, strict=True)]
    said = [Said(tuple(ids), tuple(logprobs), finish) for ids, logprobs, finish in sample(first)]
    out: dict[int, Said] = {}
    further: dict[int, Sampling] = {}
    for i, (row, budget, one) in enumerate(zip(rows, budgets, said, strict=True)):
        if budget is None:
            out[i] = one
            continue
        one, left = _after_thoughts(row, budget, one, text, encode)
        out[i] = one
        if left > 0:
            further[i] = replace(row, prompt=row.prompt + one.ids, max_tokens=left, keys=(*row.keys, "answer"))
    if further:
        for i, (ids, logprobs, finish) in zip(further, sample([*further.values()]), strict=True):
            one = out[i]
            out[i] = replace(one, ids=(*one.ids, *ids), logprobs=(*one.logprobs, *logprobs), finish=finish)
    return [out[i] for i in range(len(rows))]


def _after_thoughts(
    row: Sampling, budget: Budget, said: Said, text: Text, encode: Callable[[str], Sequence[int]]
) -> tuple[Said, int]:
    """What was said within the thoughts' budget, closed if it has to be, and how many tokens of answer may follow."""
    n = len(said.ids)
    ended = said.finish == "stop"
    whole = text(said.ids[:-1] if ended else said.ids)
    opened = (budget.closes, 0) if budget.closes is not None else block(whole, budget.markers)
    if opened is not None and opened[0] not in whole[opened[1] :]:
        if ended:  # it stopped among its thoughts: there is no answer
            return replace(said, inserted=(n, n)), 0
        put = tuple(encode(f"{opened[0]}\n\n"))
        return Said(said.ids + put, said.logprobs + (0.0,) * len(put), "length", (n, n + len(put))), row.max_tokens
    begins = 0 if opened is None else _closed_at(said.ids, budget, text)
    kept = min(n, begins + row.max_tokens)
    cut = replace(said, ids=said.ids[:kept], logprobs=said.logprobs[:kept], inserted=(kept, kept))
    if kept < n:  # the answer's own budget ended
        return replace(cut, finish="length"), 0
    return cut, 0 if ended else begins + row.max_tokens - n


def _closed_at(ids: Sequence[int], budget: Budget, text: Text) -> int:
    """How many ids it takes until the block is closed: more never open it again, so it is found by halving."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        thoughts, _ = part(text(ids[:middle]), budget.closes, budget.markers)
        closes = budget.closes or (block(thoughts, budget.markers) or ("", 0))[0]
        if closes and closes in thoughts:
            high = middle
        else:
            low = middle + 1
    return low
