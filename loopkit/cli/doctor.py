"""``loopkit doctor``: what is installed, what is wrong with it, and the cure."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

import loopkit
from loopkit import plugins as registry
from loopkit.cli import render
from loopkit.config import build_game, own_channels
from loopkit.errors import LoopkitError
from loopkit.manifest import PACKAGES
from loopkit.plugins import KINDS
from loopkit.sandbox import available

EPILOG = """\b
Examples:
  loopkit doctor
  loopkit doctor --json
"""


@click.command(epilog=EPILOG)
@render.json_option
def doctor(as_json: bool) -> None:
    """Say what is installed, which plugins failed and why. Exit code 1 if anything is wrong."""
    plugins = registry.load()
    broken = [(p.origin, p.message) for p in plugins.problems]
    for (kind, name), entry in sorted(plugins.entries.items()):
        try:
            entry.load()
        except Exception as error:
            broken.append((entry.origin, f"{kind[:-1]} {name!r}: {error}"))
    broken += _shadowed(plugins)
    data: dict[str, Any] = {
        "loopkit": loopkit.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in (*PACKAGES, "peft", "gguf")},
        "accelerator": _accelerator(),
        "sandbox": available().text,
        "plugins": [str(o) + f" ({o.entry_point})" for o in plugins.origins],
        "registered": {kind: len(plugins.names(kind)) for kind in KINDS},
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
        for origin, message in broken:
            click.echo(f"\nPROBLEM in {origin}: {render.harmless(message)}")
        click.echo("\nNo problems found." if not broken else f"\n{len(broken)} problem(s). Runs that do not need these "
                   "plugins are not affected; update or uninstall the distributions named above.")  # fmt: skip
    sys.exit(1 if broken else 0)


def _shadowed(plugins: registry.Plugins) -> list[tuple[registry.Origin, str]]:
    """Channels and detectors that ask for a name which a game uses itself: the game's own is used."""
    found = []
    for name in plugins.names("games"):
        try:
            game = build_game(plugins, name, {})
        except LoopkitError:  # needs options, or was reported above
            continue
        for others, own in ((plugins.channels(name), own_channels(game)), (plugins.detectors(name), game.detectors)):
            found += [
                (entry.origin, f"{entry.kind[:-1]} {entry.name!r} is not used: {name} has a {key!r} of its own")
                for key, entry in others.items()
                if key in own
            ]
    return found


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
