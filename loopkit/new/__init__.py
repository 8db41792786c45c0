"""``loopkit new``: writes a distribution of your own, from the files in ``template/``."""

from __future__ import annotations

import importlib.util
import json
import keyword
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import loopkit
from loopkit.errors import UsageError, nearest
from loopkit.registry.installed import requirement
from loopkit.registry.plugins import Kind, Plugins

TEMPLATE = Path(__file__).parent / "template"
NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
LONGEST = 30
"""Characters of a name: ``loopkit list`` shows it in a column."""


KINDS = ("game", "channel", "detector", "trainer", "intervention")
"""What may be begun; each has a folder of templates besides ``common``."""
WHAT = {"game": "loophole game", "channel": "reward channel", "detector": "exploit detector"}
EXAMPLE = "self-grading"
"""The game that a channel is for, and that the tests of the others play."""


def game_files(name: str) -> dict[str, str]:
    """A complete distribution of one game: path in it -> text. It trains on ``tiny`` as it is."""
    return files("game", name)


def files(kind: str, name: str, author: str = "") -> dict[str, str]:
    """A complete distribution of one part, which works before a line is edited: path in it -> text.

    ``author``: ``Name <mail>``, or a name; without one pyproject.toml names none. Raises UsageError for a kind that
    there is not.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    if kind not in KINDS:
        raise UsageError(f"a {kind} cannot be begun. {nearest(kind, KINDS)}")
    module = f"loopkit_{name.replace('-', '_')}"
    cls = "".join(map(str.capitalize, name.split("-")))
    if cls in loopkit.__all__ or keyword.iskeyword(cls):  # Task(Game) would hide loopkit's Task, and None is not a name
        cls += kind.capitalize()
    context = {
        "name": name, "module": module, "cls": cls, "distribution": f"loopkit-{name}", "requirement": requirement(),
        "kind": kind, "what": WHAT.get(kind, kind), "game": EXAMPLE, "oldest": loopkit.__version__,
        "author": _author(author), "holder": author.partition("<")[0].strip() or f"the authors of loopkit-{name}",
        "year": datetime.now(UTC).year, "checked": f"{EXAMPLE}/{name}" if kind == "channel" else
        EXAMPLE if kind == "detector" else name,
        "carded": {"game": name, "channel": EXAMPLE, "detector": EXAMPLE}.get(kind, ""),
    }  # fmt: skip
    # What is rendered are our own files, not a page: no HTML to escape.
    environment = Environment(loader=FileSystemLoader(TEMPLATE), undefined=StrictUndefined, keep_trailing_newline=True,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    made = {}
    for folder in ("common", kind):
        for file in sorted((TEMPLATE / folder).rglob("*.jinja")):
            inside = file.relative_to(TEMPLATE / folder).as_posix()
            path = inside.removesuffix(".jinja").replace("dot-", ".").replace("module.py", f"{module}.py")
            made[path] = environment.get_template(f"{folder}/{inside}").render(context)
    return dict(sorted(made.items()))


def _author(text: str) -> str:
    """``Name <mail>`` as pyproject.toml has it; empty for none."""
    name, _, mail = text.strip().rstrip(">").partition("<")
    parts = {"name": name.strip(), "email": mail.strip()}
    inside = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in parts.items() if value)
    return f"{{ {inside} }}" if inside else ""


def me() -> str:
    """Whom git knows as the user, as ``Name <mail>``; empty where it knows nobody."""
    found = []
    for key in ("user.name", "user.email"):
        try:
            done = subprocess.run(["git", "config", key], capture_output=True, text=True, timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        found.append(done.stdout.strip())
    name, mail = found
    return f"{name} <{mail}>" if name and mail else name


def check_name(name: str, plugins: Plugins, kind: str = "game") -> None:
    """Raises UsageError, with the cure, for a name that is not allowed or already taken."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:LONGEST].strip("-")
        raise UsageError(
            f"{name!r} is not a name for a {kind}: use at most {LONGEST} lower-case letters, digits and single "
            f"hyphens, beginning with a letter{f', such as {near}' if near else ''}."
        )
    kinds: tuple[Kind, ...] = ("games", "trainers", "interventions")  # `loopkit check NAME` takes each
    for taken in kinds:
        if name in plugins.names(taken):
            raise UsageError(
                f"there is a {taken.removesuffix('s')} {name!r} already, of {plugins.get(taken, name).origin}. "
                "Choose another name, or uninstall that distribution."
            )
    for part, there in (
        ("channel", f"{EXAMPLE}/{name}"),
        ("detector", f"*/{name}"),
        ("detector", f"{EXAMPLE}/{name}"),
    ):
        if kind == part and any(entry == there for _, entry in plugins.entries):
            raise UsageError(f"there is a {part} {there!r} already. Choose another name.")
    module = f"loopkit_{name.replace('-', '_')}"
    if importlib.util.find_spec(module) is not None:
        raise UsageError(f"a module {module} is installed already. Choose another name than {name!r}.")


def write(made: dict[str, str], into: Path) -> None:
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
        for path, text in made.items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        unfinished.rename(into)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
