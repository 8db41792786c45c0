"""What one registered name is, in JSON and in tables: its options with default, range, meaning, and a game's parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from loopkit.cli import render
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import RolloutQuery, RunSettings
from loopkit.experiment.resolve import build_game, detectors_of, own_channels
from loopkit.front.tables import wrapped
from loopkit.records import Json
from loopkit.registry.contain import contained, excerpt
from loopkit.registry.plugins import ONE, Entry, Kind, Plugins


def settings() -> dict[str, Json]:
    """The options that every run has."""
    return {
        "kind": "settings", "name": "settings", "what": "Options of every run (--set, or tables of --config).",
        "options": options(RunSettings, "run") + options(RolloutQuery, "rollouts"),
    }  # fmt: skip


def of(plugins: Plugins, kind: Kind, name: str) -> dict[str, Json]:
    """All there is to know of a name, without running it. UsageError if it is unknown."""
    game, slash, part = name.rpartition("/")
    if slash and (kind, name) not in plugins.entries and (kind, f"*/{part}") in plugins.entries:
        name = f"*/{part}"  # it serves every game
    if kind in ("channels", "detectors") and slash and (kind, name) not in plugins.entries:
        return _owned(plugins, kind, game, part)
    if kind in ("channels", "detectors") and not slash:
        raise UsageError(f"{name!r} names no game: write GAME/{name}, as `loopkit list {kind}` does.")
    entry = plugins.get(kind, plugins.game_name(name) if kind == "games" else name)
    name = entry.name
    thing = entry.load()
    with contained(
        entry.origin, f"{entry} cannot be described", f"Report it to {entry.origin.distribution}'s authors."
    ):
        out = _head(kind, name, entry, thing)
        if kind in ("games", "trainers"):
            out["options"] = options(thing.Options, ONE[kind], fixed=entry.preset)
        elif kind == "channels":
            out["options"] = options(type(plugins.build(entry)), "arms.ARM", fixed=entry.preset)
        elif kind == "interventions":
            out["options"] = options(thing, f"arms.ARM.{name}", fixed=entry.preset)
            out["changes"] = ", ".join(sorted(thing.changes()))
        if kind == "trainers":
            out |= {"source": thing.source, "deterministic": thing.deterministic}
        if kind == "games":
            out |= _game(plugins, name)
        return out


def _head(kind: Kind, name: str, entry: Entry, thing: Any) -> dict[str, Json]:
    return {"kind": kind, "name": name, "what": first_line(thing), "origin": str(entry.origin)}


def _owned(plugins: Plugins, kind: Kind, game: str, part: str) -> dict[str, Json]:
    """A channel or detector of the game's own."""
    built = build_game(plugins, game, {})
    owned: Mapping[str, Any] = own_channels(built) if kind == "channels" else built.detectors
    if part not in owned:
        raise UsageError(f"{game} has no {ONE[kind]} {part!r} of its own. {nearest(part, owned)}")
    thing = owned[part]
    out = _head(kind, f"{game}/{part}", plugins.get("games", game), thing)
    return out | ({"options": options(type(thing), "arms.ARM", defaults=dict(thing))} if kind == "channels" else {})


def _game(plugins: Plugins, name: str) -> dict[str, Json]:
    """What a game has besides its options; only the options if they must be set first."""
    cls = plugins.game(name)
    about = {"version": cls.version, "axis": cls.axis, "tiny_settings": dict(cls.tiny.settings)}
    about |= {"signals": {k: list(v) for k, v in cls.signals.items()}, "clues": dict(cls.clues)}
    try:
        game = build_game(plugins, name, {})
    except UsageError:
        return about
    others = {part: str(e.origin) for part, e in plugins.channels(name).items()}
    looking = {*detectors_of(plugins, game, name)}
    watching = {part: str(e.origin) for part, e in plugins.detectors(name).items() if part in looking}
    origin = str(plugins.get("games", name).origin)
    mine = own_channels(game)
    return about | {
        "channels": [
            {"name": part, "what": first_line(c), "options": dict(c), "origin": origin} for part, c in mine.items()
        ] + [{"name": part, "origin": o} for part, o in others.items() if part not in mine],
        "detectors": [{"name": part, "what": first_line(d), "origin": origin} for part, d in game.detectors.items()]
        + [{"name": part, "origin": o} for part, o in watching.items()],
    }  # fmt: skip


def options(
    model: type[BaseModel], section: str, *, fixed: Mapping[str, Json] = {}, defaults: Mapping[str, Json] = {}
) -> list[dict[str, Json]]:
    """The options of a pydantic model, as they are written with ``--set``."""
    schema = model.model_json_schema()
    out: list[dict[str, Json]] = []
    for name, field in model.model_fields.items():
        property = schema["properties"][field.alias or name]
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        out.append({
            "set": f"{section}.{name}",
            "required": field.is_required() and name not in defaults and name not in fixed,
            "default": fixed.get(name, defaults.get(name, default)),
            "fixed": name in fixed,
            "range": _range(property, schema.get("$defs", {})),
            "what": field.description or "",
        })  # fmt: skip
    return out


def _range(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words."""
    if "$ref" in schema:
        return _range(known[schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        return " or ".join(_range(s, known) for s in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    kind = {"null": "none", "boolean": "true or false", "string": "text", "array": "list", "object": "table"}
    text = kind.get(schema.get("type", ""), schema.get("type", "any"))
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return " ".join([text, ", ".join(f"{sign} {schema[key]}" for key, sign in bounds.items() if key in schema)]).strip()


def first_line(thing: Any) -> str:
    """The first line of a docstring: of a class, or of an instance's class."""
    docstring = getattr(thing if callable(thing) else type(thing), "__doc__", None)
    return excerpt(docstring.strip().split("\n")[0], 200) if isinstance(docstring, str) else ""


def text(about: Mapping[str, Any], style: str) -> str:
    """The same for people."""
    line = f"{about['name']}: {about['what']}"
    facts = [
        f"{k} {about[k]}" for k in ("origin", "version", "axis", "source", "deterministic", "changes") if k in about
    ]
    parts = [wrapped(f"{line}\n{', '.join(facts)}".strip())]
    rows = [
        [o["set"], "required" if o["required"] else f"{o['default']}{' (fixed)' * o['fixed']}", o["range"], o["what"]]
        for o in about.get("options", ())
    ]
    if rows:
        parts.append(render.table(rows, ["--set", "default", "range", "what it is"], style))
    elif "options" in about:
        parts.append("It has no options.")
    for kind in ("channels", "detectors"):
        rows = [
            [c["name"], ", ".join(f"{k}={v}" for k, v in c.get("options", {}).items()), c.get("what", ""), c["origin"]]
            for c in about.get(kind, ())
        ]
        if rows:
            parts.append(render.table(rows, [ONE[kind], "options", "what it is", "origin"], style))
    if "signals" in about:
        rows = [["signal", name, f"in [{low}, {high}]"] for name, (low, high) in about["signals"].items()]
        rows += [["clue", name, meaning] for name, meaning in about["clues"].items()]
        parts.append(render.table(rows, ["", "name", "range or meaning"], style, keys=2))
    if about.get("tiny_settings"):
        suggested = ", ".join(f"{k}={v}" for k, v in about["tiny_settings"].items())
        parts.append(wrapped(f"On tiny, unless you set them: {suggested}"))
    return "\n\n".join(parts)
