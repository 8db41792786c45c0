"""Finds plugins, keeps a registry of what they offer, and knows which distribution each name comes from.

A plugin at fault never breaks a command that does not need it: its problem is kept with its distribution's name,
shown by ``loopkit doctor`` and raised only by what asks for the names it would have given.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from loopkit import hookspecs
from loopkit.errors import PluginError, UsageError, nearest

if TYPE_CHECKING:
    import click

    from loopkit.contracts import Game, Trainer

Kind = Literal["games", "channels", "detectors", "trainers", "policies"]
KINDS: tuple[Kind, ...] = ("games", "channels", "detectors", "trainers", "policies")
OWN = "loopkit"
NAME = re.compile(r"(?:(?:\w[\w.:+-]*|\*)/)?\w[\w.:+-]*", re.ASCII)


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: distribution, its version, and the entry point's name."""

    distribution: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Entry:
    """One registered name."""

    kind: Kind
    name: str
    target: Any
    """A class or function, or "module:attribute", imported when first used."""
    preset: Mapping[str, Any]
    origin: Origin

    def load(self) -> Any:
        """The class or function behind the name; a failed import names the distribution."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            with contextlib.redirect_stdout(sys.stderr):  # a module that prints must not spoil --json
                return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        except Exception as error:
            raise PluginError(
                f"{self.kind[:-1]} {self.name!r} of {self.origin} could not be loaded from {self.target!r}: "
                f"{type(error).__name__}: {error}. Reinstall or update {self.origin.distribution}."
            ) from error


@dataclass(frozen=True)
class Problem:
    """A plugin's fault, for ``doctor``."""

    origin: Origin
    message: str


@dataclass
class Plugins:
    """The registry. Build it with :func:`load`."""

    manager: pluggy.PluginManager
    entries: dict[tuple[Kind, str], Entry] = field(default_factory=dict)
    contested: dict[tuple[Kind, str], list[Origin]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)

    def names(self, kind: Kind) -> list[str]:
        return sorted(name for k, name in self.entries if k == kind)

    def get(self, kind: Kind, name: str) -> Entry:
        """The entry of a name, or an error with the nearest names and the plugins that failed to load."""
        if origins := self.contested.get((kind, name)):
            raise PluginError(
                f"{kind[:-1]} {name!r} is registered by several distributions: {', '.join(map(str, origins))}. "
                "Uninstall all but one, or ask their authors to rename it."
            )
        if (kind, name) in self.entries:
            return self.entries[kind, name]
        text = f"unknown {kind[:-1]} {name!r}. {nearest(name, self.names(kind))}"
        if self.problems:
            failed = ", ".join(sorted({p.origin.distribution for p in self.problems}))
            text += f" Some plugins did not load ({failed}): see `loopkit doctor`."
        raise UsageError(text)

    def game(self, name: str) -> type[Game]:
        found: type[Game] = self.get("games", name).load()
        return found

    def trainer(self, name: str) -> type[Trainer]:
        found: type[Trainer] = self.get("trainers", name).load()
        return found

    def channels(self, game: str) -> dict[str, Entry]:
        """Channels of other distributions for a game, by their own name; contested ones left out."""
        return self._for_game("channels", game)

    def detectors(self, game: str) -> dict[str, Entry]:
        return self._for_game("detectors", game)

    def _for_game(self, kind: Kind, game: str) -> dict[str, Entry]:
        return {
            name.split("/", 1)[1]: entry
            for (k, name), entry in sorted(self.entries.items())
            if k == kind and name.split("/", 1)[0] in (game, "*") and (k, name) not in self.contested
        }

    def build(self, entry: Entry) -> Any:
        """An instance of a registered channel or detector, its preset applied."""
        target = entry.load()
        try:
            return target(**entry.preset) if isinstance(target, type) else target
        except Exception as error:
            raise PluginError(
                f"{entry.kind[:-1]} {entry.name!r} of {entry.origin} could not be made: {type(error).__name__}: "
                f"{error}. Report it to the authors of {entry.origin.distribution}."
            ) from error

    def _register(self, kind: Kind, origin: Origin, name: str, target: Any, preset: Mapping[str, Any]) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise PluginError(f"{name!r} is no name: use letters, digits, and . _ - : +")
        if kind in ("channels", "detectors"):
            if "/" not in name:
                raise PluginError(f"{kind[:-1]} {name!r} names no game: register it as 'game/{name}' or '*/{name}'")
        elif "/" in name:
            raise PluginError(f"{kind[:-1]} {name!r} has a slash: only channels and detectors name a game before one")
        if isinstance(target, str) and ":" not in target:
            raise PluginError(f"{kind[:-1]} {name!r} points at {target!r}: write 'module:attribute'")
        other = next((e for (k, n), e in self.entries.items() if k == kind and _same(n, name)), None)
        if other is None:
            self.entries[kind, name] = Entry(kind, name, target, dict(preset), origin)
            return
        if other.origin.distribution not in (OWN, origin.distribution):  # two strangers: neither may win silently
            for key in {name, other.name}:
                self.contested.setdefault((kind, key), [other.origin]).append(origin)
        raise PluginError(f"{kind[:-1]} {name!r} is already registered by {other.origin}: choose another name")

    # --- hooks --------------------------------------------------------------------------------------------------

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook of every plugin. One that raises stops the run, and is named."""
        for origin, call in self._callers(hook):
            try:
                call(**arguments)
            except Exception as error:
                raise PluginError(
                    f"{hook}() of {origin} failed: {type(error).__name__}: {error}. "
                    f"Mend or uninstall {origin.distribution}; the same command resumes."
                ) from error

    def add_commands(self, cli: click.Group) -> None:
        """Let every plugin add its commands; one that cannot is a Problem, and spoils no other."""
        for origin, call in self._callers("register_commands"):
            try:
                call(cli=cli)
            except Exception as error:
                self.problems.append(Problem(origin, f"register_commands() failed: {type(error).__name__}: {error}"))

    def _callers(self, hook: str) -> Iterator[tuple[Origin, Callable[..., Any]]]:
        plugins = self.manager.get_plugins()
        for origin in self.origins:
            if own := self.manager.get_plugin(_key(origin)):
                yield origin, self.manager.subset_hook_caller(hook, plugins - {own})


def _same(one: str, other: str) -> bool:
    """Whether two names are taken for one; "*/x" is the x of every game."""
    (game, _, own), (game2, _, own2) = one.rpartition("/"), other.rpartition("/")
    return own == own2 and (game == game2 or "*" in (game, game2))


def _key(origin: Origin) -> str:
    return f"{origin.distribution}:{origin.entry_point}"


def _origin(point: EntryPoint) -> Origin:
    dist = point.dist
    return Origin((dist and dist.name) or "unknown", (dist and dist.version) or "?", point.name)


def _points() -> Iterator[tuple[Origin, EntryPoint]]:
    found = {(o.distribution, p.name): (o, p) for p in entry_points(group=hookspecs.GROUP) for o in [_origin(p)]}
    # loopkit's own first, so that nobody can take a bundled name; then in a fixed order.
    yield from (found[k] for k in sorted(found, key=lambda k: (k[0] != OWN, k)))


def _load_one(plugins: Plugins, origin: Origin, point: EntryPoint) -> None:
    """Load one plugin into the registry. Each fault becomes a Problem; what registered before it stays."""
    printed = io.StringIO()  # a plugin that prints at import must not spoil --json

    def fault(message: str) -> None:
        plugins.problems.append(Problem(origin, message))

    try:
        with contextlib.redirect_stdout(printed):
            module = point.load()
            # A manager of its own first, so that a bad signature or a misspelt hook spoils no other plugin.
            alone = _manager()
            alone.register(module)
            alone.check_pending()
            for kind in KINDS:

                def register(
                    name: str, target: Any, preset: Mapping[str, Any] | None = None, *, kind: Kind = kind
                ) -> None:
                    try:
                        plugins._register(kind, origin, name, target, preset or {})
                    except PluginError as error:
                        fault(str(error))

                getattr(alone.hook, f"register_{kind}")(register=register)
        plugins.manager.register(module, name=_key(origin))
    except BaseException as error:  # SystemExit at import is a plugin's fault too
        if isinstance(error, KeyboardInterrupt):
            raise
        fault(f"{type(error).__name__}: {error}")
    if printed.getvalue():
        fault(f"printed at import: {printed.getvalue()[:80]!r}")


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


@functools.cache
def load() -> Plugins:
    """Every installed plugin, bundled ones too: they come through the same entry points."""
    plugins = Plugins(_manager())
    for origin, point in _points():
        plugins.origins.append(origin)
        _load_one(plugins, origin, point)
    if not any(o.distribution == OWN for o in plugins.origins):
        raise PluginError(
            "loopkit's own entry points were not found, so no game and no trainer is known. "
            "Install it (`pip install .` in its checkout) instead of only putting it on PYTHONPATH."
        )
    return plugins
