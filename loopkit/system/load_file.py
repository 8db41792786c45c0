"""A user's own Python: what ``FILE.py:NAME`` or ``MODULE:NAME`` names, which files it is made of, and its import."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from loopkit.errors import UsageError, nearest

INSTALLED = {"site-packages", "dist-packages"}
FIRST = ".first"
"""Names the file, in a copy, that was asked for."""
WRITE = "Write FILE.py:NAME, MODULE:NAME, or FILE.py:MAKER() for what a maker without arguments returns."


def split(spec: str) -> tuple[str, str, str | None]:
    """(file or module, name, arguments of a maker or None) of ``spec``. Raises UsageError where it is none."""
    if not (found := re.fullmatch(r"(.+?):([A-Za-z_][\w.]*)(?:\((.*)\))?", spec.strip(), re.DOTALL)):
        raise UsageError(f"{spec!r} names no Python code. {WRITE}")
    return found.group(1), found.group(2), found.group(3)


def source(where: str) -> Path:
    """The file that ``where`` (a file, or an importable module) is. Raises UsageError where there is none."""
    if where.endswith(".py") or "/" in where:
        if not Path(where).is_file():
            raise UsageError(f"file {where!r} does not exist. Name a Python file, as in my_rewards.py:fn.")
        return Path(where).resolve()
    with contextlib.suppress(ImportError, ValueError):
        known = _beside(where) or importlib.util.find_spec(where)
        if known is not None and known.origin:
            return Path(known.origin)
    raise UsageError(f"module {where!r} cannot be found. Install it, or name its file: path/to/file.py:fn.")


def _beside(module: str) -> Any:
    """A module of the working directory, which a console script's path does not hold."""
    path = Path(*module.split("."))
    file = next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)
    return file and importlib.util.spec_from_file_location(module, file.resolve())


def files(where: str) -> dict[Path, bytes]:
    """The file and every file of its own tree that it imports, by name, wherever in the code, with their bytes.

    What is installed (a library, or a module under site-packages) is not followed.
    """
    first = source(where)
    seen: dict[Path, bytes] = {}
    todo = [first]
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen[file] = file.read_bytes()
        if not INSTALLED & set(file.parts):
            todo += _imported(file, seen[file], first.parent)
    return seen


def _imported(file: Path, text: bytes, folder: Path) -> list[Path]:
    paths = set[Path]()
    for node in ast.walk(_tree(file, text)):
        if isinstance(node, ast.Import):
            names = [(folder, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1] if node.level else folder
            names = [(base, ".".join(filter(None, (node.module, a.name)))) for a in node.names] + [
                (base, node.module or "")
            ]
        else:
            continue
        for base, name in names:
            parts = name.split(".") if name else []
            paths |= {base.joinpath(*parts[: i + 1]) for i in range(len(parts))}
    return [f for p in sorted(paths) for f in (p.with_suffix(".py"), p / "__init__.py") if f.is_file()]


def _tree(file: Path, text: bytes) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file.name} is not Python: {error}.") from error


def fingerprint(spec: str) -> str:
    """A hash of what ``spec``'s code is made of: of its own file, what it reaches by name; of others, all.

    Another function in the same file, a comment or a blank line is no change. Raises UsageError where it is no code.
    """
    where, name, arguments = split(spec)
    every = files(where)
    first = next(iter(every))
    parts = [(name, arguments or "", hashlib.sha256(_reached(first, every[first], name).encode()).hexdigest())]
    if not INSTALLED & set(first.parts):
        near = [f for f in every if f != first]
        parts += sorted((f.name, "", hashlib.sha256(every[f]).hexdigest()) for f in near)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _reached(file: Path, text: bytes, name: str) -> str:
    """The top-level statements of a file that a name reaches, in their order; all of them, where it is not bound there.

    Statements that bind nothing (calls, assertions) are always among them: they may do anything.
    """
    tree = _tree(file, text)
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


def keep(spec: str, sha256: str, folder: Path) -> None:
    """Copy the code of ``spec`` to ``folder/sha256``, once: a run goes on with what it began with."""
    target = folder / sha256
    if target.exists():
        return
    every = files(split(spec)[0])
    root = Path(os.path.commonpath([f.parent for f in every]))
    temporary = folder / f".tmp-{sha256}-{os.getpid()}"
    for file, text in every.items():
        copy = temporary / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(text)
    (temporary / FIRST).write_text(str(next(iter(every)).relative_to(root)), encoding="utf-8")
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


def _levels(file: Path) -> int:
    """How many folders up the file's relative imports reach; 0 where it has none."""
    tree = _tree(file, file.read_bytes())
    return max((n.level for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)), default=0)


def load(spec: str) -> Any:
    """What ``spec`` names, imported once for each state of its code; a maker with ``()`` is called.

    A file that imports from its own package (``from .text import …``) is imported as part of it, from wherever it
    is run. Raises UsageError saying what failed, and where.
    """
    where, name, arguments = split(spec)
    file = source(where)
    own = where.endswith(".py") or "/" in where or _beside(where) is not None
    state = hashlib.sha256(file.read_bytes()).hexdigest()[:16] if own else ""
    target: Any = _module(where, file, own, state)
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
        raise UsageError(f"{spec} could not be called: {type(error).__name__}: {error}. {WRITE}") from error


@lru_cache(maxsize=16)
def _module(where: str, file: Path, own: bool, state: str) -> types.ModuleType:
    with contextlib.redirect_stdout(sys.stderr):  # what it prints must not spoil --json
        try:
            if not own:
                return importlib.import_module(where)
            levels = _levels(file)
            return _in_package(file, levels) if levels else _alone(file, state)
        except (KeyboardInterrupt, UsageError):
            raise
        except BaseException as error:
            kind, text = type(error).__name__, " ".join(str(error).split())[:300]
            raise UsageError(
                f"{where} cannot be imported: {kind}: {text}. Mend it, or install what it needs."
            ) from error


def _alone(file: Path, state: str) -> types.ModuleType:
    """The file by itself. Its folder, and that above its package, go to the end of the path: it finds its like."""
    root = file.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    for folder in (file.parent, root):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    path = hashlib.sha256(f"{file} {state}".encode()).hexdigest()[:16]
    made = importlib.util.spec_from_file_location(f"own_{path}", file)
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    sys.modules[made.name] = module  # dataclasses and pickle look it up
    made.loader.exec_module(module)
    return module


def _in_package(file: Path, levels: int) -> types.ModuleType:
    """The file as a module of the package that it is in, which reaches as far up as its relative imports do."""
    root = file.parents[levels - 1]
    while (root / "__init__.py").is_file() and (root.parent / "__init__.py").is_file():
        root = root.parent
    dotted = ".".join(file.relative_to(root.parent).with_suffix("").parts)
    with _first(str(root.parent)):
        try:
            return importlib.import_module(dotted)
        except ImportError:
            # The package's own __init__ may need what its rewards do not: parents without their code, then.
            for name in [n for n in sys.modules if n == root.name or n.startswith(f"{root.name}.")]:
                del sys.modules[name]
            for folder in [*reversed([p for p in file.parents if p == root or root in p.parents])]:
                parent = types.ModuleType(".".join(folder.relative_to(root.parent).parts))
                parent.__path__ = [str(folder)]
                sys.modules[parent.__name__] = parent
            return importlib.import_module(dotted)


@contextlib.contextmanager
def _first(folder: str) -> Iterator[None]:
    """``folder`` at the head of the import path, and at its end afterwards: the code may import later, too."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)
