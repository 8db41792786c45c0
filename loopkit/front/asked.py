"""From what a caller says, in the words of the command line or as Python values, to an Experiment."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loopkit.errors import UsageError
from loopkit.experiment.config import (
    SECTIONS,
    Experiment,
    parse_judges,
    parse_seeds,
    parse_set,
    read_experiment,
)
from loopkit.registry import plugins as registry
from loopkit.rewards.reward import AND

Seeds = int | str | Iterable[int]
"""5 (seeds 0-4), a range, a list, or the command line's text."""
Names = str | Iterable[str]
"""Names, or the command line's text with commas."""
Options = Mapping[str, Any] | Sequence[str]
"""``{"run.steps": 20}``, ``{"run": {"steps": 20}}``, or the command line's ``["run.steps=20"]``."""
Reward = str | Callable[..., Any] | Sequence[str | Callable[..., Any]]
"""``FILE.py:FUNCTION``, or a function that was read from a file; several add."""


def experiment_of(
    game: str | None,
    *,
    trainer: str | None = None,
    model: str | None = None,
    arms: Names | Mapping[str, Mapping[str, Any]] | None = None,
    seeds: Seeds | None = None,
    data: str | Path | None = None,
    reward: Reward | None = None,
    trusted: Reward | None = None,
    options: Options = (),
    judges: Mapping[str, str] | Sequence[str] = (),
    config: Path | None = None,
) -> Experiment:
    """The Experiment that a caller asks for. Raises UsageError naming what is not understood."""
    tables = tables_of(options)
    if data is not None:
        tables.setdefault("game", {})["data"] = str(data)
    game = own_reward(game, reward, trusted, tables)
    names = None if arms is None else names_of(arms)
    if names == []:
        raise UsageError("--arms names no arm. Write --arms loophole,control, or leave it out.")
    if isinstance(arms, Mapping):
        for arm, arm_options in arms.items():
            if arm_options:
                tables.setdefault("arms", {}).setdefault(arm, {}).update(arm_options)
    return read_experiment(
        config, settings=tables, arms=names, judges=judges_of(judges), game=game, trainer=trainer, model=model,
        seeds=None if seeds is None else seeds_text(seeds),
    )  # fmt: skip


def names_of(names: Names) -> list[str]:
    """Names as a list."""
    parts = names.split(",") if isinstance(names, str) else names
    return [name.strip() for name in parts if name.strip()]


def judges_of(judges: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Role -> model."""
    return dict(judges) if isinstance(judges, Mapping) else parse_judges(judges)


def seeds_text(seeds: Seeds) -> str:
    """Seeds as the command line writes them: 5 and range(5) are "5", range(100, 105) is "100-104", [3, 7] is "3,7".

    Raises UsageError for what names no seeds.
    """
    if isinstance(seeds, str):
        return seeds
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        text = str(seeds)
    else:
        numbers = [] if isinstance(seeds, bool) else list(seeds)
        if not numbers or not all(isinstance(s, int) and not isinstance(s, bool) for s in numbers):
            raise UsageError(f"seeds={seeds!r} names no seeds: give 5 (seeds 0-4), range(100, 105) or [3, 7].")
        whole = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        if whole and numbers[0] == 0:
            text = str(len(numbers))
        else:
            text = f"{numbers[0]}-{numbers[-1]}" if whole else ",".join(map(str, numbers))
    parse_seeds(text)
    return text


def tables_of(options: Options, sections: Sequence[str] = SECTIONS) -> dict[str, Any]:
    """Options as nested tables, section -> option -> value. Raises UsageError for an unknown section."""
    if not isinstance(options, Mapping):
        return parse_set([options] if isinstance(options, str) else options, sections)
    out: dict[str, Any] = {}
    for key, value in options.items():
        *path, last = key.split(".")
        if (path or [last])[0] not in sections or not last or not (path or isinstance(value, Mapping)):
            raise UsageError(
                f"options {key!r} = {value!r} is not understood: write 'section.name' with a section of "
                f"{', '.join(sections)}, such as {{'run.steps': 20}}."
            )
        table = out
        for part in path:
            table = table.setdefault(part, {})
        _merge(table, {last: value})
    return out


def _merge(table: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping):
            _merge(table.setdefault(key, {}), value)
        else:
            table[key] = str(value) if isinstance(value, Path) else value


def own_reward(game: str | None, reward: Reward | None, trusted: Reward | None, tables: dict[str, Any]) -> str | None:
    """The game's name; the two rewards become options, in ``tables``, of the game that declares such flags.

    Raises UsageError beside another game.
    """
    functions = {"reward": reward, "trusted": trusted}
    options = {name: _source(function, name) for name, function in functions.items() if function is not None}
    if not options:
        return game
    flag = next(iter(options))
    taker = registry.load().with_flag(flag)
    if game not in (None, taker):
        raise UsageError(f"--{flag} is a game of its own, {taker}. Leave --game {game} out.")
    tables["game"] = {**tables.get("game", {}), **options}
    return taker


def _source(reward: Reward, name: str) -> str:
    """``FILE.py:FUNCTION`` of a function: the processes of the runs load it from there. Of several, their sum."""
    if isinstance(reward, str):
        return reward
    if isinstance(reward, Sequence):
        return AND.join(_source(one, name) for one in reward)
    called = getattr(reward, "__qualname__", "")
    try:
        file = inspect.getsourcefile(reward) or ""
    except TypeError:
        file = ""
    if not os.path.isfile(file) or not called.isidentifier():
        raise UsageError(
            f"{name}={reward!r} cannot be loaded by the runs' processes: they read it from a file. Write it as a "
            f"function of a file of its own, and give that, or '{name}=\"FILE.py:FUNCTION\"'."
        )
    path = os.path.relpath(file)
    return f"{file if path.startswith('..') else path}:{called}"
