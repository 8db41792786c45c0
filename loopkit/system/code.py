"""A user's own code, in files: what a name points at is imported, and hashed together with what it imports beside it.

Such code runs with the user's rights, as ``python FILE.py`` would.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from loopkit.errors import UsageError
from loopkit.seeding import digest

INSTALLED = {"site-packages", "dist-packages"}
PREFIX = "loopkit_file_"
"""What a file outside a package is imported as: this, and a hash of its path and code."""
_importing: list[Path] = []
_imported_as: dict[Path, str] = {}
"""A file that was imported from here -> the hash of it then."""
T = TypeVar("T")


def root(file: Path) -> Path:
    """The folder from which a file's own imports start: its own, or the one that holds its outermost package."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def beside(module: str) -> Any:
    """The spec of a module in the working directory, which a console script's path does not hold; None if not there."""
    path = Path(*module.split("."))
    file = next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)
    return file and importlib.util.spec_from_file_location(module, file.resolve())


def fingerprint(file: Path, *, installed: bool = False) -> str:
    """A hash of the file and of every file below ``root(file)`` that it imports, by name, wherever in the code.

    What is installed (under site-packages) is not followed, since the manifest has its version; with ``installed`` it
    is, within the file's own package. Raises UsageError where a file is not Python.
    """
    if not file.is_file():
        raise UsageError(
            f"{file} is not a file, so its code has no hash (a built-in module, say). Write what is to be called "
            "into a file of yours."
        )
    folder = root(file)
    sources = sources_of(file, installed)
    parts = sorted((str(f.relative_to(folder)), hashlib.sha256(text).hexdigest()) for f, text in sources.items())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def of_class(cls: type) -> str:
    """The ``fingerprint`` of the file that defines a class. Raises UsageError where no file does."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None or not Path(file).is_file():
        raise UsageError(
            f"{cls.__name__} was defined in no file (in a notebook cell, say), so its code has no hash. Write it into "
            "a file, or set `version`."
        )
    return fingerprint(Path(file).resolve(), installed=True)


def sources_of(file: Path, installed: bool = False, folder: Path | None = None) -> dict[Path, bytes]:
    """The file, and what it imports below ``folder`` (``root(file)``): each file's bytes."""
    folder = folder or root(file)
    package = folder / file.relative_to(folder).parts[0]
    sources: dict[Path, bytes] = {}
    todo = [file]
    while todo:
        one = todo.pop()
        if one in sources:
            continue
        sources[one] = one.read_bytes()
        if not INSTALLED & set(one.parts):
            todo += _imports(one, sources[one], folder)
        elif installed and package.is_dir():
            todo += [f for f in _imports(one, sources[one], folder) if f.is_relative_to(package)]
    return sources


def _imports(file: Path, text: bytes, folder: Path) -> list[Path]:
    """The files below ``folder`` that a file's import statements name."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file.name} is not Python: {error}.") from error
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = file.parents[node.level - 1] if node.level else folder
            near = start.relative_to(folder).as_posix() if start.is_relative_to(folder) else ""
            base = ".".join(filter(None, (near.replace("/", ".").strip("."), node.module)))
            names |= {base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)}
    parts = {".".join(n.split(".")[: i + 1]) for n in names if n for i in range(n.count(".") + 1)}
    paths = (folder.joinpath(*name.split(".")) for name in sorted(parts))
    return [f for p in paths for f in (p.with_suffix(".py"), p / "__init__.py") if f.is_file()]


@lru_cache(maxsize=64)
def load(file: Path, sha256: str) -> ModuleType:
    """The module that a file is, imported once for each state (``fingerprint``) of its code.

    The folder its imports start from goes to the end of the import path, so that it finds its neighbours. A file of a
    package is imported by its place there; any other under a name of its own. Raises UsageError saying what failed.
    """
    folder = root(file)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    beside_it = [f for f in sources_of(file) if not INSTALLED & set(f.parts)]
    if not (file.parent / "__init__.py").is_file():
        neighbours = [f for f in beside_it if f != file]
        _forget_edited(neighbours)
        _forget_namesakes(neighbours, folder)
        with _first_on_path(folder):
            return _guarded(file, lambda: _execute(f"{PREFIX}{digest(str(file), sha256):x}", file))
    name = ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
    _forget_edited(beside_it)
    module = _guarded(file, lambda: importlib.import_module(name))
    if Path(getattr(module, "__file__", None) or "").resolve() != file:
        raise UsageError(
            f"{file} cannot be imported: the name {name} belongs to {getattr(module, '__file__', None)}. Rename its "
            "package, or uninstall the other."
        )
    return module


def import_installed(name: str) -> ModuleType:
    """A module by its name. Raises UsageError saying what failed."""
    return _guarded(Path(name), lambda: importlib.import_module(name))


def _forget_edited(files: Iterable[Path]) -> None:
    """Let what was imported from here and edited since be imported anew: in a notebook, a process outlives an edit."""
    for file in files:
        now = hashlib.sha256(file.read_bytes()).hexdigest()
        if _imported_as.setdefault(file, now) != now:
            _imported_as[file] = now
            for name, module in list(sys.modules.items()):
                if getattr(module, "__file__", None) == str(file):
                    del sys.modules[name]
            # Python takes compiled code for current whose source has the same size and second.
            Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def _forget_namesakes(files: Iterable[Path], folder: Path) -> None:
    """Let a file's neighbour be imported where another file's neighbour of the same name was imported before."""
    for file in files:
        name = ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        other = Path(getattr(sys.modules.get(name), "__file__", None) or file)
        if other != file and other in _imported_as:
            del sys.modules[name]


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _execute(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look it up
    try:
        _fill(module, file)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _fill(module: ModuleType, file: Path) -> None:
    """Run a file's code as the module, never Python's copy of its bytecode, which may be of an earlier edit."""
    exec(compile(file.read_bytes(), str(file), "exec"), vars(module))


def _guarded(file: Path, run: Callable[[], T]) -> T:
    """Import something. What it raises is a UsageError, and what it prints does not spoil ``--json``."""
    if file in _importing:
        raise UsageError(
            f"{file.name} starts a run whenever it is imported. Put what it runs under `if __name__ == '__main__':`."
        )
    _importing.append(file)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return run()
    except (KeyboardInterrupt, UsageError):
        raise
    except BaseException as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:600].rstrip(".")
        raise UsageError(f"{file.name} cannot be imported: {cause}. Mend it, or install what it needs.") from error
    finally:
        _importing.remove(file)


def files() -> dict[str, str]:
    """The files that were imported under a name of their own: that name -> the file. For ``restore`` elsewhere."""
    return {name: str(m.__file__) for name, m in list(sys.modules.items()) if name.startswith(PREFIX)}


class _ByOwnName(importlib.abc.MetaPathFinder):
    """Finds a file under the name it was imported as in another process, when something there is looked up by name."""

    def __init__(self, imported: Mapping[str, str]) -> None:
        self.imported = imported

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        file = self.imported.get(name)
        return file and importlib.util.spec_from_loader(name, _Loader(Path(file)))


class _Loader(importlib.abc.Loader):
    def __init__(self, file: Path) -> None:
        self.file = file

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self.file)
        with _first_on_path(root(self.file)):
            _guarded(self.file, lambda: _fill(module, self.file))


def restore(imported: Mapping[str, str]) -> None:
    """Let the same files be found under the same names in another process, so that what is pickled by name is there.

    A file is imported when something of it is looked up, so one that has gone since hinders nobody else.
    """
    sys.meta_path.append(_ByOwnName(imported))
