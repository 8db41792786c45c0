"""Finds plugins, keeps a registry of what they offer, and knows which distribution each name comes from.

A plugin at fault never breaks a command that does not need it: its problem is kept with its distribution's name,
shown by ``loopkit doctor`` and raised only by what asks for the names it would have given.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from loopkit.errors import MissingExtra, PluginError, UsageError, nearest, needing
from loopkit.registry import files, hookspecs, installed
from loopkit.registry.contain import contained, excerpt, guarded
from loopkit.registry.installed import OWN as OWN
from loopkit.registry.installed import Origin as Origin

if TYPE_CHECKING:
    import click

    from loopkit.contracts import Game, Trainer

Kind = Literal["games", "channels", "detectors", "trainers", "interventions", "policies"]
KINDS: tuple[Kind, ...] = ("games", "channels", "detectors", "trainers", "interventions", "policies")
NAME = re.compile(r"(?=.{1,100}$)(?:(?:\w[\w.:+-]*|\*)/)?\w[\w.:+-]*", re.ASCII)
HOOKS: Mapping[str, str] = {
    name: f"{name}({', '.join(inspect.signature(value).parameters)})"
    for name, value in vars(hookspecs).items()
    if hasattr(value, f"{hookspecs.GROUP}_spec")
}
"""The hooks, name -> how it is written."""
ONE: Mapping[str, str] = {**{kind: kind[:-1] for kind in KINDS}, "policies": "policy"}


@dataclass(frozen=True)
class Entry:
    """One registered name."""

    kind: Kind
    name: str
    target: Any
    """A class or function, or "module:attribute", imported when first used."""
    preset: Mapping[str, Any]
    origin: Origin
    flags: Sequence[str] = ()
    """Of a game: its options that are flags of the command line."""
    control: str = ""
    """Of a game: the option without which it has no channel "control"; empty: it has one."""

    def __str__(self) -> str:
        return f"{ONE[self.kind]} {self.name!r} of {self.origin}"

    def load(self) -> Any:
        """The class or function behind the name. A failed import or a wrong type names the distribution."""
        target, owner = self.target, self.origin.distribution
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            cure = f"Reinstall or update {owner}."
            fault = f"{self} could not be loaded from {excerpt(target, 100)!r}"
            with contained(self.origin, fault, cure, passes=(MissingExtra,)), needing(self.name):
                target = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        if wanted := _lacks(self.kind, target):
            raise PluginError(f"{self} is not {wanted}. Report it to the authors of {owner}.")
        return target


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
    _own_names: dict[tuple[Kind, str], list[Entry]] = field(default_factory=dict)
    """By the part of a name after its game: what a new name may collide with."""

    def names(self, kind: Kind) -> list[str]:
        return sorted(name for k, name in self.entries if k == kind)

    def get(self, kind: Kind, name: str) -> Entry:
        """The entry of a name, or an error with the nearest names and the plugins that failed to load."""
        if origins := self.contested.get((kind, name)):
            raise PluginError(
                f"{ONE[kind]} {name!r} is registered by several distributions: {', '.join(map(str, origins))}. "
                "Uninstall all but one, or ask their authors to rename it."
            )
        if (kind, name) in self.entries:
            return self.entries[kind, name]
        if kind == "games" and files.is_file(name):
            return _of_file(name)
        text = f"unknown {ONE[kind]} {name!r}. {nearest(name, self.names(kind))}"
        if self.problems:
            first = {p.origin.distribution: p for p in reversed(self.problems)}
            problems = [f"{p.origin} ({excerpt(p.message, 120)})" for _, p in sorted(first.items())[:3]]
            more = f", and {len(first) - 3} more" if len(first) > 3 else ""
            text += f" Some plugins have problems: {', '.join(problems)}{more}. See `loopkit doctor`."
        raise UsageError(text)

    def game_name(self, game: str | type[Game]) -> str:
        """The name that a spec records of a game: registered, ``FILE.py:CLASS``, or of the class itself."""
        if isinstance(game, str):
            return game if ("games", game) in self.entries else files.whole(game)
        for entry in self.entries.values():
            if entry.kind == "games" and entry.target in (game, f"{game.__module__}:{game.__qualname__}"):
                return entry.name
        return files.of_class(game)

    def game(self, name: str) -> type[Game]:
        cls: type[Game] = self.get("games", name).load()
        return cls

    def trainer(self, name: str) -> type[Trainer]:
        cls: type[Trainer] = self.get("trainers", name).load()
        return cls

    def channels(self, game: str) -> dict[str, Entry]:
        """Channels of other distributions for a game, by their own name; contested ones left out."""
        return self._for_game("channels", game)

    def detectors(self, game: str) -> dict[str, Entry]:
        return self._for_game("detectors", game)

    def _for_game(self, kind: Kind, game: str) -> dict[str, Entry]:
        offered = (e for e in self.entries.values() if e.kind == kind and e.name.split("/", 1)[0] in (game, "*"))
        entries = sorted((e for e in offered if (kind, e.name) not in self.contested), key=lambda e: e.name)
        return {entry.name.split("/", 1)[1]: entry for entry in entries}

    def build(self, entry: Entry) -> Any:
        """An instance of a registered channel or detector, its preset applied; should it raise later, it is named."""
        target = entry.load()
        cure = f"Report it to the authors of {entry.origin.distribution}."
        with contained(entry.origin, f"{entry} could not be made", cure):
            part = target(**entry.preset) if isinstance(target, type) else target
            return part if entry.origin.distribution == OWN else guarded(part, entry.origin, str(entry))

    def note(self, origin: Origin, message: str) -> None:
        """Keep a fault for ``doctor``."""
        if (problem := Problem(origin, message)) not in self.problems[-100:]:
            self.problems.append(problem)

    def with_flag(self, flag: str) -> str:
        """The game that a flag of the command line is an option of."""
        for (kind, name), entry in self.entries.items():
            if kind == "games" and flag in entry.flags:
                return name
        raise UsageError(f"no installed game takes --{flag}. Install one that does, or leave it out.")

    def default_arms(self, game: str, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The arms of an experiment that names none; no control where the game of these options has none."""
        entry = self.entries.get(("games", game))
        without = entry and entry.control and not options.get(entry.control)
        return ("loophole", "placebo") if without else ("loophole", "control", "placebo")

    def _register(
        self, origin: Origin, kind: Kind, name: str, target: Any, preset: Mapping[str, Any] | None, **about: Any
    ) -> None:
        shown = excerpt(repr(name), 60)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise PluginError(f"{shown} is not a name: use at most 100 letters, digits, and . _ - : +")
        if kind in ("channels", "detectors"):
            if "/" not in name:
                raise PluginError(f"{ONE[kind]} {shown} names no game: register it as 'game/{name}' or '*/{name}'")
        elif "/" in name:
            raise PluginError(f"{ONE[kind]} {shown} has a slash: only channels and detectors name a game before one")
        if isinstance(target, str) and ":" not in target:
            raise PluginError(f"{ONE[kind]} {shown} points at {excerpt(repr(target), 60)}: write 'module:attribute'")
        if preset is not None and not (isinstance(preset, Mapping) and all(isinstance(k, str) for k in preset)):
            raise PluginError(
                f"{ONE[kind]} {shown} has the preset {excerpt(repr(preset), 60)}: write {{'option': value}}"
            )
        rivals = self._own_names.setdefault((kind, name.rpartition("/")[2]), [])
        other = next((e for e in rivals if _same(e.name, name)), None)
        if other is None:
            self.entries[kind, name] = Entry(kind, name, target, dict(preset or {}), origin, **about)
            rivals.append(self.entries[kind, name])
            return
        if other.origin.distribution not in (OWN, origin.distribution):  # two strangers: neither may win silently
            for key in {name, other.name}:
                self.contested.setdefault((kind, key), [other.origin]).append(origin)
        raise PluginError(f"{ONE[kind]} {shown} is already registered by {other.origin}: choose another name")

    # --- hooks --------------------------------------------------------------------------------------------------

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook of every plugin. One that raises stops the run, and is named."""
        for origin, call in self._callers(hook):
            cure = f"Mend or uninstall {origin.distribution}; the same command resumes."
            with contained(origin, f"{hook}() of {origin} failed", cure):
                call(**arguments)

    def add_commands(self, cli: click.Group) -> None:
        """Let every plugin add its commands; one that cannot is a Problem, and spoils no other."""
        for origin, call in self._callers("register_commands"):
            try:
                with contained(origin, "register_commands() failed", f"Update or uninstall {origin.distribution}."):
                    call(cli=cli)
            except PluginError as error:
                self.note(origin, str(error))

    def _callers(self, hook: str) -> Iterator[tuple[Origin, Callable[..., Any]]]:
        plugins = self.manager.get_plugins()
        for origin in self.origins:
            if module := self.manager.get_plugin(_key(origin)):
                yield origin, self.manager.subset_hook_caller(hook, plugins - {module})


def _of_file(name: str) -> Entry:
    """The entry of a game that is a file: its origin is the file, with the game's version."""
    cls = files.load(name)
    return Entry("games", name, cls, {}, Origin(name.rpartition(":")[0], str(cls.version), files.FILE))


def _same(one: str, other: str) -> bool:
    """Whether two names are taken for one; "*/x" is the x of every game."""
    (game, _, name), (game2, _, own2) = one.rpartition("/"), other.rpartition("/")
    return name == own2 and (game == game2 or "*" in (game, game2))


def _key(origin: Origin) -> str:
    return f"{origin.distribution}:{origin.entry_point}"


def _lacks(kind: Kind, loaded: Any) -> str | None:
    """What a loaded target should have been, with its article, or None if it is."""
    from loopkit import contracts, interventions

    if kind == "policies":
        return None if callable(loaded) else "a function"
    wanted = {
        "games": contracts.Game, "trainers": contracts.Trainer,
        "channels": contracts.RewardChannel, "detectors": contracts.ExploitDetector,
        "interventions": interventions.Intervention,
    }[kind]  # fmt: skip
    instance = kind in ("channels", "detectors") and isinstance(loaded, wanted)
    if instance or (isinstance(loaded, type) and issubclass(loaded, wanted)):
        return None
    return f"{'an' if wanted.__name__[0] in 'EI' else 'a'} {wanted.__name__}"


def _load_one(plugins: Plugins, origin: Origin, point: EntryPoint) -> None:
    """Load one plugin into the registry. Each fault becomes a Problem; what registered before it stays."""
    fault = functools.partial(plugins.note, origin)
    cure = f"Mend, update or uninstall {origin.distribution}."
    printed = io.StringIO()  # a plugin that prints at import must not spoil --json
    try:
        with contained(origin, "its metadata cannot be read", cure):
            unmet = None if origin.distribution == OWN else installed.unmet(point.dist)
        if unmet:
            cure = f"Install a {OWN} that fits, or another release of {origin.distribution}."
            raise PluginError(f"{unmet}: nothing of it is offered. {cure}")
        with contained(origin, f"importing {excerpt(point.value, 100)!r} failed", cure, printed=printed):
            module = point.load()
        with contained(origin, "its hooks are not right", cure):
            alone = _alone(module)
        for kind in KINDS:
            with contained(origin, f"register_{kind}() failed", cure, printed=printed):

                def register(
                    name: str,
                    target: Any,
                    preset: Mapping[str, Any] | None = None,
                    *,
                    kind: Kind = kind,
                    flags: Sequence[str] = (),
                    control: str = "",
                ) -> None:
                    try:
                        plugins._register(origin, kind, name, target, preset, flags=tuple(flags), control=control)
                    except PluginError as error:
                        fault(f"{error}.")

                getattr(alone.hook, f"register_{kind}")(register=register)
        plugins.manager.register(module, name=_key(origin))
    except PluginError as error:
        fault(str(error))
    if printed.getvalue():
        fault(f"printed at import: {excerpt(printed.getvalue(), 80)!r}. Harmless, but ask its authors to stop it.")


def _alone(module: Any) -> pluggy.PluginManager:
    """A manager with this plugin only, so that a bad signature or a misspelt hook spoils no other. Or PluginError."""
    alone = _manager()
    try:
        alone.register(module)
        alone.check_pending()
    except pluggy.PluginValidationError as error:
        text = " ".join(str(error).split())
        unknown = re.search(r"unknown hook '(\w+)'", text)
        written = re.search(r"hookimpl definition: ((\w+)\(.*?\)) Argument", text)
        if unknown:
            text = f"there is no hook {unknown[1]!r}. {nearest(unknown[1], HOOKS)}"
        elif written and written[2] in HOOKS:
            text = f"{written[1]} cannot be called: write {HOOKS[written[2]]}"
        raise PluginError(text) from error
    names = getattr(module, "__dict__", {})
    if unmarked := [hook for hook in HOOKS if callable(names.get(hook)) and not hasattr(names[hook], "loopkit_impl")]:
        raise PluginError(f"{', '.join(unmarked)} is never called: mark it @hookimpl (from loopkit import hookimpl)")
    if not alone.get_hookcallers(module):
        raise PluginError("it offers nothing: no function in it is marked @hookimpl")
    return alone


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


@functools.cache
def load() -> Plugins:
    """Every installed plugin, bundled ones too: they come through the same entry points."""
    plugins = Plugins(_manager())
    for origin, point in installed.points(plugins.note):
        plugins.origins.append(origin)
        _load_one(plugins, origin, point)
    if not any(o.distribution == OWN for o in plugins.origins):
        raise PluginError(
            "loopkit's own entry points were not found, so no game and no trainer is known. "
            "Install it (`pip install .` in its checkout) instead of only putting it on PYTHONPATH."
        )
    return plugins
