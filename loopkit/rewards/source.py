"""A user's own reward: what ``FILE.py:NAME`` or ``MODULE:NAME`` names, the code that it is made of, and its import."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

from loopkit.errors import UsageError, nearest
from loopkit.registry.contain import describe
from loopkit.system import code

FIRST = ".first"
"""Names the file, in a copy, that was asked for."""
WRITE = "Write FILE.py:NAME, MODULE:NAME, or FILE.py:MAKER() for what a maker without arguments returns."


def split(spec: str) -> tuple[str, str, str | None]:
    """(file or module, name, arguments of a maker or None) of ``spec``. Raises UsageError where it is none."""
    if not (parts := re.fullmatch(r"(.+?):([A-Za-z_][\w.]*)(?:\((.*)\))?", spec.strip(), re.DOTALL)):
        raise UsageError(f"{spec!r} names no Python code. {WRITE}")
    return parts.group(1), parts.group(2), parts.group(3)


def source(where: str) -> Path:
    """The file of Python source that ``where`` (a file, or an importable module) is. Raises UsageError where there is
    none."""
    if _is_file(where):
        if not Path(where).is_file():
            raise UsageError(f"reward file {where!r} does not exist. Name a Python file, as in my_rewards.py:fn.")
        return Path(where).resolve()
    with contextlib.suppress(ImportError, ValueError):
        known = code.beside(where) or importlib.util.find_spec(where)
        if known is not None and (known.origin or "").endswith(".py") and Path(str(known.origin)).is_file():
            return Path(str(known.origin))
        if known is not None:  # built in, frozen, compiled, or a folder: nothing whose code could be recorded
            raise UsageError(
                f"reward module {where!r} is no file of Python source ({known.origin or 'a folder'}). Write a function "
                "of your own around it, and name that: my_rewards.py:fn."
            )
    raise UsageError(f"reward module {where!r} cannot be found. Install it, or name its file: path/to/file.py:fn.")


def _is_file(where: str) -> bool:
    return where.endswith(".py") or "/" in where


def _root(file: Path) -> Path:
    """The folder that its imports start from: that which holds its outermost package. A folder to which its relative
    imports reach is taken for a package, whether it has an ``__init__`` or not.
    """
    levels = _levels(file)
    return min([code.root(file), *file.parents[levels : levels + bool(levels)]], key=lambda p: len(p.parts))


def _levels(file: Path) -> int:
    """How many folders up the file's relative imports reach; 0 where it has none."""
    try:
        nodes = ast.walk(ast.parse(file.read_bytes()))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file.name} is not Python: {error}.") from error
    return max((n.level for n in nodes if isinstance(n, ast.ImportFrom)), default=0)


# --- what it is made of -----------------------------------------------------------------------------------------------


def fingerprint(spec: str) -> str:
    """A hash of what ``spec``'s code is made of: of its own file, what it reaches by name; of others, all.

    Another function in the same file, a comment or a blank line is no change. Raises UsageError where it is no code.
    """
    where, name, arguments = split(spec)
    first = source(where)
    every = code.sources_of(first, folder=_root(first))
    parts = [(name, arguments or "", hashlib.sha256(_reached(first, every[first], name).encode()).hexdigest())]
    if not code.INSTALLED & set(first.parts):
        near = [f for f in every if f != first]
        parts += sorted((f.name, "", hashlib.sha256(every[f]).hexdigest()) for f in near)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _reached(file: Path, text: bytes, name: str) -> str:
    """The top-level statements of a file that a name reaches, in their order; all of them, where it is not bound there.

    Statements that bind nothing (calls, assertions) are always among them: they may do anything.
    """
    tree = ast.parse(text)
    binds: dict[str, set[int]] = {}
    always = set[int]()
    for k, node in enumerate(tree.body):
        bound = _bound(node)
        for one in bound:
            binds.setdefault(one, set()).add(k)
        if not bound and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            always.add(k)
    first = name.split(".")[0]
    if first not in binds:
        return ast.dump(tree)
    reached, todo = set(always), set(binds[first]) | always
    while todo:
        k = todo.pop()
        reached.add(k)
        used = {n.id for n in ast.walk(tree.body[k]) if isinstance(n, ast.Name)}
        todo |= {j for one in used for j in binds.get(one, ())} - reached
    return "\n".join(ast.dump(tree.body[k]) for k in sorted(reached))


def _bound(node: ast.stmt) -> set[str]:
    """The names that a top-level statement binds."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in inner.names}
        elif isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(inner.name)
    return names


# --- copies -----------------------------------------------------------------------------------------------------------


def keep(spec: str, sha256: str, folder: Path) -> None:
    """Copy the code of ``spec`` to ``folder/sha256``, once: a run goes on with what it began with."""
    target = folder / sha256
    if target.exists():
        return
    first = source(split(spec)[0])
    root = _root(first)
    sources = code.sources_of(first, folder=root)
    every = {file: text for file, text in sources.items() if not code.INSTALLED & set(file.parts)}
    for parent in first.relative_to(root).parents:  # a package stays one
        if (init := root / parent / "__init__.py").is_file():
            every.setdefault(init, init.read_bytes())
    temporary = folder / f".tmp-{sha256}-{os.getpid()}"
    for file, text in every.items():
        copy = temporary / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(text)
    temporary.mkdir(parents=True, exist_ok=True)
    if first in every:
        (temporary / FIRST).write_text(str(first.relative_to(root)), encoding="utf-8")
    with contextlib.suppress(OSError):  # another process was quicker
        temporary.rename(target)


def kept(spec: str, sha256: str, folder: Path) -> str | None:
    """The spec of the copy of that state of its code; None where there is none."""
    note = folder / sha256 / FIRST
    if not note.is_file():
        return None
    _, name, arguments = split(spec)
    call = "" if arguments is None else f"({arguments})"
    return f"{folder / sha256 / note.read_text(encoding='utf-8')}:{name}{call}"


# --- import -----------------------------------------------------------------------------------------------------------


def load(spec: str) -> Any:
    """What ``spec`` names, imported once for each state of its code; a maker with ``()`` is called.

    A file that imports from its own package (``from .text import …``) is imported as part of it, from wherever it
    is run. Raises UsageError saying what failed, and where.
    """
    where, name, arguments = split(spec)
    file = source(where)
    own = _is_file(where) or code.beside(where) is not None
    target: Any = _module(file, code.fingerprint(file)) if own else code.import_installed(where)
    for part in name.split("."):
        if not hasattr(target, part):
            known = [n for n, v in vars(target).items() if callable(v) and not n.startswith("_")]
            raise UsageError(f"{where} has no {name!r}. {nearest(name, known)}")
        target = getattr(target, part)
    if arguments is None:
        return target
    try:
        call = ast.parse(f"f({arguments})", mode="eval").body
        assert isinstance(call, ast.Call)
        values = [ast.literal_eval(a) for a in call.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        return target(*values, **named)
    except Exception as error:
        raise UsageError(f"{spec} could not be called: {describe(error)}. {WRITE}") from error


@lru_cache(maxsize=16)
def _module(file: Path, state: str) -> types.ModuleType:
    """The file as a module. Where its package cannot be imported whole, without what the package's ``__init__`` does:
    that may need what its rewards do not.
    """
    try:
        return code.load(file, state)
    except UsageError:
        if _root(file) == file.parent:
            raise
        return _without_inits(file)


def _without_inits(file: Path) -> types.ModuleType:
    """The file as a module of its package, whose ``__init__`` files may fail; standard error says which did."""
    root = _root(file)
    parts = file.relative_to(root).with_suffix("").parts
    for name in [n for n in sys.modules if n == parts[0] or n.startswith(f"{parts[0]}.")]:
        del sys.modules[name]
    if str(root) not in sys.path:
        sys.path.append(str(root))
    finder = _Packages(root, parts[0])
    sys.meta_path.insert(0, finder)
    try:
        return code.import_installed(".".join(parts).removesuffix(".__init__"))
    finally:
        sys.meta_path.remove(finder)


class _Packages(importlib.abc.MetaPathFinder):
    """Finds one package and those in it as folders, with or without an ``__init__`` that works."""

    def __init__(self, root: Path, package: str) -> None:
        self.root, self.package = root, package

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        folder = self.root.joinpath(*name.split("."))
        if name.split(".")[0] != self.package or not folder.is_dir():
            return None
        init = folder / "__init__.py"
        spec = importlib.machinery.ModuleSpec(name, _Init(name, str(init)), origin=str(init), is_package=True)
        spec.submodule_search_locations = [str(folder)]
        spec.has_location = init.is_file()
        return spec


class _Init(importlib.machinery.SourceFileLoader):
    """An ``__init__`` that may be missing, or fail: what it had bound by then is there."""

    def exec_module(self, module: types.ModuleType) -> None:
        if not Path(self.path).is_file():
            return
        try:
            super().exec_module(module)
        except Exception as error:
            print(f"{self.name}/__init__.py failed, and is done without: {describe(error)}", file=sys.stderr)
