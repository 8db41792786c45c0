"""``loopkit new``: writes a distribution of your own, from the files in ``template/``."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shutil
from pathlib import Path

import loopkit
from loopkit.errors import UsageError
from loopkit.registry.installed import requirement
from loopkit.registry.plugins import Kind, Plugins

TEMPLATE = Path(__file__).parent / "template"
NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
LONGEST = 30
"""Characters of a name: ``loopkit list`` shows it in a column."""


def game_files(name: str) -> dict[str, str]:
    """A complete distribution of one game: path in it -> text. It trains on ``tiny`` as it is."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    module = f"loopkit_{name.replace('-', '_')}"
    cls = "".join(map(str.capitalize, name.split("-")))
    if cls in loopkit.__all__ or keyword.iskeyword(cls):  # Task(Game) would hide loopkit's Task, and None is not a name
        cls += "Game"
    # What is rendered are our own files, not a page: no HTML to escape.
    environment = Environment(loader=FileSystemLoader(TEMPLATE), undefined=StrictUndefined, keep_trailing_newline=True)
    files = {}
    for file in sorted(TEMPLATE.rglob("*.jinja")):
        source = file.relative_to(TEMPLATE).as_posix()
        path = source.removesuffix(".jinja").replace("dot-", ".").replace("module.py", f"{module}.py")
        files[path] = environment.get_template(source).render(
            name=name, module=module, cls=cls, distribution=f"loopkit-{name}", requirement=requirement()
        )
    return dict(sorted(files.items()))


def check_name(name: str, plugins: Plugins) -> None:
    """Raises UsageError, with the cure, for a name that is not allowed or already taken."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:LONGEST].strip("-")
        raise UsageError(
            f"{name!r} is not a name for a game: use at most {LONGEST} lower-case letters, digits and single hyphens, "
            f"beginning with a letter{f', such as {near}' if near else ''}."
        )
    kinds: tuple[Kind, ...] = ("games", "trainers")  # `loopkit check NAME` takes both
    for kind in kinds:
        if name in plugins.names(kind):
            raise UsageError(
                f"there is a {kind.removesuffix('s')} {name!r} already, of {plugins.get(kind, name).origin}. "
                "Choose another name, or uninstall that distribution."
            )
    module = f"loopkit_{name.replace('-', '_')}"
    if importlib.util.find_spec(module) is not None:
        raise UsageError(f"a module {module} is installed already. Choose another name than {name!r}.")


def write(files: dict[str, str], into: Path) -> None:
    """Writes the files into a new directory: all of them, or none. Raises UsageError where something is there."""
    if os.path.lexists(into):
        raise UsageError(f"{into} exists, and nothing is overwritten. Choose another --out, or move it away.")
    if not into.parent.is_dir():
        raise UsageError(f"{into.parent} is not a directory. Make it, or choose another --out.")
    unfinished = into.parent / f".{into.name}-{os.getpid()}"
    try:
        unfinished.mkdir()
    except OSError as error:
        raise UsageError(f"{into} cannot be written: {error.strerror}. Choose another --out.") from error
    try:
        for path, text in files.items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        unfinished.rename(into)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
