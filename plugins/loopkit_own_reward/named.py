"""Finds a user's own reward: what ``file.py:name`` or ``module:name`` names."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import Any

from loopkit.errors import UsageError, nearest
from loopkit.system import code


def split(spec: str) -> tuple[str, str]:
    """(file or module, name) of ``spec``. Raises UsageError where it is neither."""
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise UsageError(
            f"reward {spec!r} is not understood: write FILE.py:FUNCTION, MODULE:FUNCTION, or reasoning-gym:DATASET."
        )
    return where, name


def source(where: str) -> Path:
    """The file that ``where`` (a file, or an importable module) is. Raises UsageError where there is none."""
    if _is_file(where):
        if not Path(where).is_file():
            raise UsageError(f"reward file {where!r} does not exist. Name a Python file, as in my_rewards.py:fn.")
        return Path(where).resolve()
    with contextlib.suppress(ImportError, ValueError):
        found = code.beside(where) or importlib.util.find_spec(where)
        if found is not None and found.origin:
            return Path(found.origin)
    raise UsageError(f"reward module {where!r} cannot be found. Install it, or name its file: path/to/file.py:fn.")


def _is_file(where: str) -> bool:
    return where.endswith(".py") or "/" in where


def fingerprint(spec: str) -> str:
    """A hash of the code that a reward is made of."""
    return code.fingerprint(source(split(spec)[0]))


def load(spec: str, sha256: str) -> Any:
    """What ``spec`` names, imported once for each state of its code. Raises UsageError saying what failed."""
    where, name = split(spec)
    file = source(where)
    own = _is_file(where) or code.beside(where)
    module = code.load(file, sha256) if own else code.import_installed(where)
    if not hasattr(module, name):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(f"{where} has no {name!r}. {nearest(name, known)}")
    return getattr(module, name)
