"""Calls a user's own reward as its library would: a TRL reward function, a reasoning-gym scorer.

Whatever goes wrong names the reward, the row and the completion. It is never a reward of 0: TRL pays 0 where a function
returns None, and a policy could learn to cause it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit.errors import ContractError, PluginError, UsageError, nearest
from loopkit.registry.contain import describe, excerpt

Row = Mapping[str, Any]
OF_TRL = {"completion_ids", "completions_ids", "trainer_state", "log_extra", "log_metric", "environments"}
"""What TRL passes besides words and columns."""


@dataclass(frozen=True)
class Reward:
    """``pays(rows, completions)``: (B,) rows and words -> (B,) whatever the user's code returned."""

    name: str
    pays: Callable[[Sequence[Row], Sequence[str]], Any]

    def __call__(self, rows: Sequence[Row], said: Sequence[str], numbers: Sequence[int]) -> list[float]:
        """(B,) rows, completions and row numbers -> (B,) finite rewards.

        Raises ContractError where the code returned anything else, PluginError (which a referee tries again) where it
        raised; both name the row.
        """
        try:
            found = self._ask(rows, said)
        except Exception as error:
            raise PluginError(self._raised(error, rows, said, numbers)) from error
        found = found.tolist() if hasattr(found, "tolist") else found  # an array or a tensor
        if not isinstance(found, (list, tuple)):
            raise ContractError(
                f"reward {self.name} returned {found!r:.60}. Return a list of floats, one a completion."
            )
        if len(found) != len(rows):
            raise ContractError(
                f"reward {self.name} got {len(rows)} completions and returned {len(found)} rewards. Return one for "
                "each, in the same order."
            )
        return [self._one(*of) for of in zip(found, numbers, said, strict=True)]

    def _ask(self, rows: Sequence[Row], said: Sequence[str]) -> Any:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                return self.pays([copy.deepcopy(dict(row)) for row in rows], list(said))
            except SystemExit as error:  # a test runner's exit must not end the run as if it were done
                raise RuntimeError(f"it called sys.exit({error.code!r})") from error

    def _one(self, value: Any, number: int, words: str) -> float:
        who = f"reward {self.name} returned {value!r:.60} for row {number}, of the completion {excerpt(words, 80)!r}"
        if value is None:
            raise ContractError(
                f"{who}: not applicable. TRL would pay 0 for it, which a policy can learn to earn. Drop the rows it is "
                "not for, or let it return a number."
            )
        try:
            made = float(value)
        except (TypeError, ValueError) as error:
            raise ContractError(f"{who}, which is no number. Return floats.") from error
        if not math.isfinite(made):
            raise ContractError(f"{who}, which is not finite. Nothing was paid. Return a finite number.")
        return made

    def _raised(self, error: Exception, rows: Sequence[Row], said: Sequence[str], numbers: Sequence[int]) -> str:
        """Names the first completion that raises alone."""
        on = f"only in a batch of {len(rows)}, as on rows {list(numbers[:3])}"
        for row, words, number in zip(rows, said, numbers, strict=True):
            try:
                self._ask([row], [words])
            except Exception as alone:
                error, on = alone, f"on row {number}, of the completion {excerpt(words, 80)!r}"
                break
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) != Path(__file__)]
        at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        return (
            f"reward {self.name} raised {describe(error)}{at} {on}. Nothing was paid. If what it depends on was down, "
            "run the same command to resume; else mend it and choose another --out, since changed code is another "
            "experiment."
        )


def reward(name: str, target: Any, columns: Sequence[str], chat: bool) -> Reward:
    """The reward that an imported object is. Raises UsageError where it is none, or needs what the rows lack."""
    if not callable(target) or isinstance(target, type):
        raise UsageError(
            f"{name} is a {type(target).__name__}. Name a function fn(completions, prompts, **columns) that returns a "
            "list of floats."
        )
    takes, everything = _parameters(target)
    given = {"prompts", "completions", *columns} - {"prompt", "completion"}
    for parameter in takes.values():
        if parameter.default is parameter.empty and parameter.name not in given:
            ids = parameter.name in OF_TRL
            cure = "loopkit scores words: let it do without." if ids else nearest(parameter.name, sorted(given))
            raise UsageError(
                f"{name} needs {parameter.name!r}, which nothing passes. {cure} As by TRL, it is called with the lists "
                "prompts, completions, and one for each other column of --data, by its name."
            )

    def pays(rows: Sequence[Row], said: Sequence[str]) -> Any:
        found = {
            "prompts": [row["prompt"] for row in rows],
            "completions": [[{"role": "assistant", "content": text}] for text in said] if chat else list(said),
            **{c: [row.get(c) for row in rows] for c in columns if c not in ("prompt", "completion")},
        }
        return _done(target(**{k: v for k, v in found.items() if everything or k in takes}))

    return Reward(name, pays)


def _parameters(function: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """(parameters that are passed by name, whether it takes any name)"""
    found = inspect.signature(function).parameters.values()
    everything = any(p.kind is p.VAR_KEYWORD for p in found)
    return {p.name: p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}, everything


def _done(found: Any) -> Any:
    """What an async function returns, awaited."""

    async def wait() -> Any:
        return await found

    return asyncio.run(wait()) if inspect.isawaitable(found) else found


def scorer(name: str, data_set: Any) -> Reward:
    """A reasoning-gym set's own scorer, over rows that hold their entry's number as ``index``.

    The answer is what stands in the last ``<answer>``, else the whole reply.
    """

    def answer(said: str) -> str:
        _, opened, rest = said.rpartition("<answer>")
        return (rest.partition("</answer>")[0] if opened else said).strip()

    return Reward(
        name,
        lambda rows, said: [
            data_set.score_answer(answer(text), data_set[row["index"]]) for row, text in zip(rows, said, strict=True)
        ],
    )
