"""Games that are files: ``my_game.py:Compare`` is a game's name, and so is the class itself. No distribution is needed.

A spec records the name with the path as it was given, relative to the working directory where the file lies below it:
like ``--data``, it is found again from the directory in which the run was begun. A class that sets no
``version`` has a hash of the file and of what it imports beside it, so an edited file is another game, and a begun run
refuses it.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from loopkit.errors import UsageError, nearest
from loopkit.system import code

if TYPE_CHECKING:
    from loopkit.contracts import Game

FILE = "file"
"""Entry point of what comes from a file."""
NAME = re.compile(r"(?P<file>.+\.py)(?::(?P<cls>\w+))?", re.S)


def is_file(name: str) -> bool:
    """Whether a game's name is that of a file."""
    return NAME.fullmatch(name) is not None


def label(name: str) -> str:
    """A game's name as a folder may have it: "my_game-Compare" of "games/my_game.py:Compare", others as they are."""
    named = NAME.fullmatch(name)
    return f"{Path(named['file']).stem}-{named['cls']}" if named and named["cls"] else name


def whole(name: str) -> str:
    """``FILE.py:CLASS``, where the file alone is enough: it defines one game. Other names stay as they are."""
    named = NAME.fullmatch(name)
    if named is None:
        return name
    return f"{_shown(Path(named['file']))}:{named['cls'] or _only(named['file'])}"


def of_class(cls: type[Game]) -> str:
    """The name of a class that no distribution registers. Raises UsageError where no other process could import it."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    cure = f"write it at the top level of a file, say my_game.py, and name that: my_game.py:{cls.__name__}"
    if file is None or not Path(file).is_file():
        raise UsageError(
            f"game {cls.__name__} was defined where no other process can import it (a notebook cell, say), and every "
            f"run is a process of its own. In a notebook, begin the cell with %%writefile my_game.py; else {cure}."
        )
    if cls.__qualname__ != cls.__name__:
        raise UsageError(f"game {cls.__qualname__} is not at the top level of {Path(file).name}. Move it: {cure}.")
    return f"{_shown(Path(file))}:{cls.__name__}"


def load(name: str) -> type[Game]:
    """The class that a file's name is. Raises UsageError where there is none; importing it runs the user's code."""
    named = NAME.fullmatch(whole(name))
    assert named is not None
    module, sha256 = _module(named["file"])
    cls = getattr(module, named["cls"], None)
    from loopkit.contracts import SourceHash

    games = _games(module)
    if cls is None:
        raise UsageError(f"{named['file']} has no {named['cls']!r}. {nearest(named['cls'], games)}")
    if named["cls"] not in games:
        raise UsageError(
            f"{named['cls']} of {named['file']} is not a game defined there: derive it from loopkit.Game, or name "
            f"the file that defines it. Games there: {', '.join(games) or 'none'}."
        )
    game = games[named["cls"]]
    if module.__name__.startswith(code.PREFIX) and isinstance(inspect.getattr_static(game, "version"), SourceHash):
        game.version = sha256  # of the code that was imported, whatever the file holds by now
    return game


def _only(file: str) -> str:
    games = _games(_module(file)[0])
    whole_ones = [name for name, cls in games.items() if not inspect.isabstract(cls)]
    if len(whole_ones) != 1:
        raise UsageError(
            f"{file} defines {'several games' if whole_ones else 'no game'}. "
            + (f"Name one: {', '.join(f'{file}:{n}' for n in whole_ones)}." if whole_ones else
               f"Derive a class from loopkit.Game{_lacking(games)}.")
        )  # fmt: skip
    return whole_ones[0]


def _lacking(games: dict[str, type[Game]]) -> str:
    """What a class that is nearly a game still lacks."""
    first = next(iter(games.values()), None)
    lacks = ", ".join(sorted(getattr(first, "__abstractmethods__", ())))
    return f", and give {first.__name__} what it lacks: {lacks}" if first else ""


def _module(file: str) -> tuple[ModuleType, str]:
    path = Path(file).resolve()
    if not path.is_file():
        raise UsageError(
            f"game file {file!r} does not exist in {Path.cwd()}. Name a file that is there; what was begun with one "
            "is resumed and read from the directory it was begun in."
        )
    sha256 = code.fingerprint(path)
    return code.load(path, sha256), sha256


def _games(module: ModuleType) -> dict[str, type[Game]]:
    """The games that a module defines, by name."""
    from loopkit.contracts import Game

    return {
        name: thing
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, Game) and thing.__module__ == module.__name__
    }


def _shown(file: Path) -> str:
    """The path as it is recorded: below the working directory relative to it, else as it was given."""
    here = Path.cwd()
    inside = Path(os.path.abspath(file))
    return (inside.relative_to(here) if inside.is_relative_to(here) else Path(os.path.normpath(file))).as_posix()
