"""``loopkit.watch``: what it is asked for -> a ``Watch``. Every mistake is found here, before the training begins."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from loopkit.elsewhere import games, keeping
from loopkit.elsewhere.arms import NAME
from loopkit.elsewhere.judging import Judge, Judged, by_prompt, criteria_of, is_function
from loopkit.elsewhere.parts import Logged
from loopkit.elsewhere.watching import Watch
from loopkit.errors import UsageError
from loopkit.experiment.rundir import RunDir
from loopkit.records import Json
from loopkit.rewards import source

Function = str | Callable[..., Any]
LATER = 1
"""Rollouts that a run is said to be measured by, before that is known."""


def watch(
    directory: str | Path,
    *,
    arm: str = "loophole",
    seed: int = 0,
    reward: str = "",
    trusted: Function | None = None,
    shadow: Mapping[str, Function] | None = None,
    game: str | None = None,
    options: Mapping[str, Json] | None = None,
    data: str | Path | None = None,
    reward_range: tuple[float, float] | None = None,
    trusted_range: tuple[float, float] | None = None,
    passes: float | None = None,
    steps: int | None = None,
    alerts: bool = True,
    trainer: str = "",
    model: str = "",
) -> Watch:
    """Watch a training that goes on elsewhere, and keep it as a run of loopkit's in ``directory``.

    ``trusted``: a function (or FILE.py:FUNCTION) that says whether a rollout is good; what ``reward`` (the name of a
    reward; default: all that is paid) passes and it does not is the exploit. Or ``game`` judges, with its ``options``.
    ``shadow``: further rewards that are computed and not paid. ``data``: rows with columns that these need, by prompt.
    ``steps``: of the training, where the trainer does not say. Raises UsageError for what cannot be; what goes wrong
    later is said, and never raised.
    """
    if not NAME.fullmatch(arm):
        raise UsageError(f"watch(arm={arm!r}): a name has small letters, digits, '-', '_' and '.'.")
    path = Path(directory)
    about = {"trainer": trainer or keeping.UNKNOWN, "model": model or keeping.UNKNOWN}
    shadows = {f"shadow:{name}": function for name, function in (shadow or {}).items()}
    if game is not None:
        if trusted is not None or reward or shadows:
            raise UsageError("watch(game=…): a game judges by its own detectors and channels. Leave the others out.")
        setup = games.set_up(game, options or {}, None if data is None else str(data))
        spec = lambda n: keeping.spec_of_game(arm, seed, setup, game, n, LATER, **about)  # noqa: E731
        watched = Watch(path, spec, lambda rows, plain: games.judge(setup, rows, seed, "reward"), setup, steps, alerts)
    else:
        functions = {} if trusted is None else {named(trusted): trusted}
        functions |= {name: f for name, f in shadows.items() if not isinstance(f, str)}
        asked = {"reward": reward, "trusted": "" if trusted is None else named(trusted), "reward_range": reward_range,
                 "trusted_range": trusted_range, "passes": passes}  # fmt: skip
        made = [] if trusted is None or isinstance(trusted, str) else [named(trusted)]
        criteria = criteria_of(made, **{k: v for k, v in asked.items() if v not in (None, "")})
        judge = Judge(criteria, by_prompt(Path(data)) if data else None,
                      {name: f for name, f in functions.items() if not isinstance(f, str)})  # fmt: skip
        spec = lambda n: keeping.spec_of(arm, seed, criteria, n, LATER, **about)  # noqa: E731
        watched = Watch(path, spec, partial(_judged, judge, shadows, seed), judge.setup, steps, alerts)
    _refuse_other(path, watched, arm, seed)
    return watched


def named(function: Function) -> str:
    """What a function is called in records: FILE.py:FUNCTION where it has a file, else its module and name."""
    if isinstance(function, str):
        if not is_function(function):
            raise UsageError(f"{function!r} is no function: give one, or FILE.py:FUNCTION.")
        source.load(function)
        return function
    name = getattr(function, "__qualname__", type(function).__name__)
    try:
        file = inspect.getsourcefile(function) or ""
    except TypeError:
        file = ""
    if os.path.isfile(file) and name.isidentifier():
        path = os.path.relpath(file)
        return f"{file if path.startswith('..') else path}:{name}"
    return f"{getattr(function, '__module__', 'made')}:{name}"


def _judged(judge: Judge, shadows: Mapping[str, Function], seed: int, rows: Sequence[Logged], plain: bool) -> Judged:
    """Rows of a step, with the rewards that are computed and not paid."""
    for name, function in () if plain else shadows.items():
        values = judge.called(function if isinstance(function, str) else name, rows)
        label = name.partition(":")[2]
        rows = [replace(row, numbers={**row.numbers, label: v}) for row, v in zip(rows, values, strict=True)]
    paid = "reward" if any("reward" in row.numbers for row in rows) else None
    return judge.judge(rows, seed, paid, plain=plain)


def _refuse_other(path: Path, watched: Watch, arm: str, seed: int) -> None:
    """Raise UsageError where the directory is another run's, before the training begins."""
    if not (path / "run.toml").exists():
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(
                f"{path} holds something else. Choose a directory of the run's own, such as {path}/{arm}-s{seed}."
            )
        return
    known = RunDir(path).spec()
    RunDir(path).belongs_to(watched.spec(known.run.steps))
