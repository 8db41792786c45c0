"""Finds a user's own code: imports what ``file.py:name`` or ``module:name`` names, and hashes what it is made of."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from loopkit.errors import UsageError, nearest
from loopkit.registry.contain import describe
from loopkit.seeding import digest

INSTALLED = {"site-packages", "dist-packages"}


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
    if where.endswith(".py") or "/" in where:
        if not Path(where).is_file():
            raise UsageError(f"reward file {where!r} does not exist. Name a Python file, as in my_rewards.py:fn.")
        return Path(where).resolve()
    with contextlib.suppress(ImportError, ValueError):
        found = _beside(where) or importlib.util.find_spec(where)
        if found is not None and found.origin:
            return Path(found.origin)
    raise UsageError(f"reward module {where!r} cannot be found. Install it, or name its file: path/to/file.py:fn.")


def _beside(module: str) -> Any:
    """A module of the working directory, which a console script's path does not hold."""
    path = Path(*module.split("."))
    file = next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)
    return file and importlib.util.spec_from_file_location(module, file.resolve())


def fingerprint(where: str) -> str:
    """A hash of the file and of every file of its own folder that it imports, by name, wherever in the code.

    What is installed (a library, or a module under site-packages) is not followed: the manifest has its version.
    """
    first = source(where)
    found: dict[Path, bytes] = {}
    todo = [first]
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found[file] = file.read_bytes()
        if not INSTALLED & set(file.parts):
            todo += _imported(file, found[file], first.parent)
    parts = sorted((str(f.relative_to(first.parent)), hashlib.sha256(text).hexdigest()) for f, text in found.items())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _imported(file: Path, text: bytes, folder: Path) -> list[Path]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file.name} is not Python: {error}.") from error
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            near = file.parent.relative_to(folder).as_posix().replace("/", ".").strip(".") if node.level else ""
            base = ".".join(filter(None, (near, node.module)))
            names |= {base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)}
    parts = {".".join(n.split(".")[: i + 1]) for n in names if n for i in range(n.count(".") + 1)}
    paths = (folder.joinpath(*name.split(".")) for name in sorted(parts))
    return [f for p in paths for f in (p.with_suffix(".py"), p / "__init__.py") if f.is_file()]


@lru_cache(maxsize=8)
def load(spec: str, sha256: str) -> Any:
    """What ``spec`` names, imported once for each state of its code. Raises UsageError saying what failed, and where.

    A file's folder goes to the end of the import path, so that the file finds its neighbours.
    """
    where, name = split(spec)
    file = source(where)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it prints must not spoil --json
            if where.endswith(".py") or "/" in where or _beside(where):
                made = importlib.util.spec_from_file_location(f"own_reward_{digest(str(file), sha256):x}", file)
                assert made is not None
                assert made.loader is not None
                module = importlib.util.module_from_spec(made)
                sys.modules[made.name] = module  # dataclasses and pickle look it up
                made.loader.exec_module(module)
            else:
                module = importlib.import_module(where)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UsageError(
            f"{where} cannot be imported: {describe(error)}. Mend it, or install what it needs."
        ) from error
    if not hasattr(module, name):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(f"{where} has no {name!r}. {nearest(name, known)}")
    return getattr(module, name)
