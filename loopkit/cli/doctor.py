"""``loopkit doctor``: what is installed, what is wrong with it, and the cure."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

import loopkit
from loopkit import plugins as registry
from loopkit.cli import render
from loopkit.cli.listing import offered
from loopkit.errors import PluginError, UsageError
from loopkit.manifest import PACKAGES
from loopkit.plugins import KINDS, Entry, Origin, Plugins
from loopkit.resolve import build_game, detectors_of, own_channels
from loopkit.sandbox import available

EPILOG = """\b
Examples:
  loopkit doctor
  loopkit doctor --json
"""
FEW = 5
"""Problems of one distribution that are shown."""


@click.command(epilog=EPILOG)
@render.json_option
def doctor(as_json: bool) -> None:
    """Say what is installed, which plugins failed and why. Exit code 1 if anything is wrong."""
    plugins = registry.load()
    _try_all(plugins)
    broken = [(p.origin, p.message) for p in plugins.problems]
    data: dict[str, Any] = {
        "loopkit": loopkit.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in (*PACKAGES, "peft", "gguf")},
        "accelerator": _accelerator(),
        "sandbox": available().text,
        "plugins": [str(o) + f" ({o.entry_point})" for o in plugins.origins],
        "registered": {kind: len(offered(plugins, kind)) for kind in KINDS},
        "problems": [{"distribution": str(o), "message": m} for o, m in broken],
    }
    if as_json:
        render.echo_json(data)
    else:
        rows = [(k, v) for k, v in data.items() if isinstance(v, (str, int))]
        rows += [(f"package {k}", v or "not installed") for k, v in data["packages"].items()]
        rows += [("plugin", p) for p in data["plugins"]]
        rows += [(f"registered {k}", v) for k, v in data["registered"].items()]
        click.echo(render.table(rows, ["what", "found"]))
        for text in _told(broken):
            click.echo(f"\n{text}")
        click.echo("\nNo problems found." if not broken else f"\n{len(broken)} problem(s). Runs that do not need these "
                   "plugins are not affected; update or uninstall the distributions named above.")  # fmt: skip
    sys.exit(1 if broken else 0)


def _told(broken: list[tuple[Origin, str]]) -> Iterator[str]:
    """The problems, a few of each distribution."""
    by_origin: dict[Origin, list[str]] = {}
    for origin, message in broken:
        by_origin.setdefault(origin, []).append(message)
    for origin, messages in by_origin.items():
        yield from (render.harmless(f"PROBLEM in {origin}: {message}") for message in messages[:FEW])
        if len(messages) > FEW:
            yield f"PROBLEM in {origin}: {len(messages) - FEW} more (`loopkit doctor --json` has them all)."


def _try_all(plugins: Plugins) -> None:
    """Load and make everything that can be made; each fault becomes a Problem of the registry."""
    for (kind, name), entry in sorted(plugins.entries.items(), key=lambda item: item[0]):
        if (kind, name) in plugins.contested:  # reported when it was registered
            continue
        try:
            plugins.build(entry) if kind in ("channels", "detectors") else entry.load()
            if kind == "games":
                _game(plugins, name)
        except UsageError:  # it needs options
            continue
        except PluginError as error:
            plugins.report(entry.origin, str(error))


def _game(plugins: Plugins, name: str) -> None:
    """Make a game, and see which of other distributions' channels and detectors it can use.

    Where one asks for a name that the game uses itself, the game's own is used.
    """
    game = build_game(plugins, name, {})
    detectors_of(plugins, game, name)
    others: list[tuple[dict[str, Entry], Collection[str]]] = [
        (plugins.channels(name), own_channels(game)), (plugins.detectors(name), game.detectors),
    ]  # fmt: skip
    for found, own in others:
        for key in found.keys() & set(own):
            plugins.report(found[key].origin, f"{found[key]} is not used: {name} has a {key!r} of its own.")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _accelerator() -> str:
    try:
        import torch
    except ImportError:
        return "torch is not installed: pip install torch"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none: runs on the CPU"
