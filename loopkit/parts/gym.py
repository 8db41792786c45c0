"""reasoning-gym's data sets: made, and refused where their scorer runs text as Python."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from loopkit.errors import UsageError, nearest, needing

EVALUATES = {"eval", "exec", "compile", "sympify", "parse_expr"}
"""What runs text as Python (sympy's two parsers do)."""


def gym_version(option: str = "game.reasoning_gym") -> str:
    """The installed version. Raises UsageError where there is none; ``option`` is what asked for it."""
    with needing(option):
        import reasoning_gym  # noqa: F401
    return version("reasoning-gym")


@lru_cache(maxsize=4)
def gym_set(name: str, config: str, size: int, seed: int, trust: bool, option: str = "game.reasoning_gym") -> Any:
    """The data set. ``config`` is JSON. Raises UsageError for what reasoning-gym refuses, and for unsafe scorers."""
    gym_version(option)
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        raise UsageError(f"{option}: there is no data set {name!r}. {nearest(name, DATASETS)}")
    if (evaluated := evaluates(DATASETS[name][0])) and not trust:
        raise UsageError(
            f"{option}={name}: its scorer runs {evaluated}() on the answer, which may be any Python a model "
            "writes, in loopkit's own process. Choose another set; or, if nothing on this machine is worth protecting, "
            "--set game.trust_scorer=true."
        )
    try:
        return reasoning_gym.create_dataset(name, size=size, seed=seed, **json.loads(config))
    except Exception as error:  # each set checks its options in its own way
        raise UsageError(
            f"{option}={name} with {config}: {type(error).__name__}: {error}. Mend game.reasoning_gym_config."
        ) from error


def evaluates(cls: Any) -> str | None:
    """What the scorer, or a function it calls in its own module or class, runs text with; None where it does not.

    Read from the source: a scorer that hides it is not seen. A set made of other sets counts as one that does.
    """
    if cls.__name__ == "CompositeDataset":
        return "other sets' scorers"
    todo, seen = [cls.score_answer], set[Any]()
    while todo:
        function = todo.pop()
        if function in seen:
            continue
        seen.add(function)
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            called = function.__globals__.get(name) if isinstance(call.func, ast.Name) else getattr(cls, name, None)
            if inspect.isfunction(called) and called.__module__.startswith("reasoning_gym"):
                todo.append(called)
            elif name in EVALUATES and ast.unparse(call.func) != "re.compile":
                return str(name)
    return None
