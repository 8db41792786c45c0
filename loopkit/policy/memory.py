"""Out of memory: micro-batches are halved, said aloud, and gone through again from the start."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TypeVar

import torch

from loopkit.errors import RunError
from loopkit.system.notices import notice

SAYS = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
"""In the message of the RuntimeError that torch raises where an allocation on the CPU fails."""
T = TypeVar("T")
U = TypeVar("U")
_most: int | None = None
"""Units a micro-batch may have in this process, once one did not fit: a process trains one policy."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SAYS)


def accumulate(
    parameters: Iterable[torch.nn.Parameter],
    batches: Iterable[Sequence[int]],
    work: Callable[[list[int]], None],
    sums: dict[str, float],
    unit: Callable[[int], int] = lambda i: i,
) -> None:
    """Call ``work``, which adds to gradients and to ``sums``, on each micro-batch of indices.

    Where memory runs out, gradients and sums go back to what they were before the first micro-batch (a backward pass
    that failed half way has added some already), every micro-batch is cut to half the size of the one that failed, and
    all are done again. Consecutive indices of equal ``unit`` stay together. Raises RunError where a lone one is too
    much.
    """
    global _most
    trained = [p for p in parameters if p.requires_grad]
    before = [None if p.grad is None else p.grad.clone() for p in trained]  # None at the start of an update: no cost
    numbers = dict(sums)
    whole = [[list(g) for _, g in groupby(batch, key=unit)] for batch in batches]
    while True:
        failed = _attempt([part for batch in whole for part in _cut(batch, _most)], work)
        if failed is None:
            return
        units, why = failed
        for p, grad in zip(trained, before, strict=True):
            p.grad = None if grad is None else grad.clone()
        sums.update(numbers)
        _most = _halved(units, why, "micro-batches", "token_budget asks for too much")


def speak_in_parts(speak: Callable[[Sequence[T]], list[U]], items: Sequence[T], size: int) -> tuple[list[U], int]:
    """``speak`` of ``size`` items at a time -> (all it gave, the size that fitted). Halved where memory runs out."""
    out: list[U] = []
    while len(out) < len(items):
        part, gave = items[len(out) : len(out) + size], list[U]()
        why = _tried(lambda part=part, gave=gave: gave.extend(speak(part)))  # type: ignore[misc]
        if why is None:
            out += gave
        else:
            size = _halved(len(part), why, "decoding batches", "the model is large for this machine")
    return out, size


def _attempt(batches: Sequence[list[list[int]]], work: Callable[[list[int]], None]) -> tuple[int, str] | None:
    """None, or (units in the micro-batch that failed, why)."""
    for batch in batches:
        why = _tried(lambda batch=batch: work([i for part in batch for i in part]))  # type: ignore[misc]
        if why is not None:
            return len(batch), why
    return None


def _tried(call: Callable[[], None]) -> str | None:
    """None, or why memory ran out. Returning lets go of what the error held."""
    try:
        call()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return None


def _halved(size: int, why: str, unit: str, hint: str) -> int:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if size == 1:
        raise RunError(
            f"out of memory with a single rollout ({why}). Shorten it (run.max_tokens), use a smaller model, "
            "or run fewer side by side (--jobs), and run the same command to resume."
        )
    notice("out of memory", why=why, cure=f"{unit} halved to {size // 2} at most; {hint}")
    return size // 2


def _cut(units: list[list[int]], most: int | None) -> list[list[list[int]]]:
    size = most or len(units)
    return [units[i : i + size] for i in range(0, len(units), size)]
