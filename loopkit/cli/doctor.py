"""``loopkit doctor``: what is installed, what is wrong with it, and the cure."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

import loopkit
from loopkit.cli import complete, render
from loopkit.cli.listing import offered
from loopkit.errors import PluginError, UsageError
from loopkit.experiment.config import parse_set, validate
from loopkit.experiment.manifest import PACKAGES
from loopkit.experiment.resolve import build_game, detectors_of, own_channels
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.registry.plugins import KINDS, OWN, Entry, Origin, Plugins
from loopkit.sandbox import VARIABLE, available

EPILOG = """\b
Examples:
  loopkit doctor
  loopkit doctor --json
  loopkit doctor --trainer openrlhf --set trainer.python=/opt/openrlhf/bin/python \\
      --set trainer.gpus=8
"""
UNCONFINED = (
    f"{VARIABLE} is rlimit, which stops no attack: programs that a model writes can read your files and use your "
    "network. Unset it, or set it to auto."
)
NO_TORCH = "torch is not installed, so nothing can be trained"
FEW = 5
"""Problems of one distribution that are shown."""


@click.command(epilog=EPILOG)
@click.option("--trainer", shell_complete=complete.family,
              help="Look at what this trainer needs instead; a family such as openrlhf will do.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="trainer.NAME=VALUE", help="Its options. Repeatable.")
@render.json_option
def doctor(trainer: str | None, settings: Sequence[str], as_json: bool) -> None:
    """Say what is installed, which plugins failed and why. Exit code 1 if anything is wrong."""
    plugins = registry.load()
    if trainer is not None:
        _trainer(plugins, trainer, parse_set(settings).get("trainer", {}), as_json)
        return
    if settings:
        raise UsageError("--set belongs to --trainer NAME.")
    _try_all(plugins)
    broken = [(p.origin, p.message) for p in plugins.problems]
    sandbox = available()
    data: dict[str, Any] = {
        "loopkit": loopkit.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in (*PACKAGES, "peft", "gguf", "reasoning-gym", "tensorboard")},
        "accelerator": _accelerator(),
        **_fits(),
        "sandbox": sandbox.text,
        "plugins": [str(o) + f" ({o.entry_point})" for o in plugins.origins],
        "registered": {kind: len(offered(plugins, kind)) for kind in KINDS},
        "problems": [{"distribution": str(o), "message": m} for o, m in broken],
    }
    if sandbox.tier == "rlimit":
        data["problems"].append({"distribution": f"{OWN} {loopkit.__version__}", "message": UNCONFINED})
    if as_json:
        render.echo_json(data)
    else:
        rows = [(k, v) for k, v in data.items() if isinstance(v, (str, int))]
        rows += [(f"package {k}", v or "not installed") for k, v in data["packages"].items()]
        rows += [("plugin", p) for p in data["plugins"]]
        rows += [(f"registered {k}", v) for k, v in data["registered"].items()]
        click.echo(render.table(rows, ["what", "found"]))
        for text in _told(broken):
            render.say(f"\n{text}")
        if broken:
            render.say(f"\n{len(broken)} problem(s). Runs that do not need these plugins are not affected; update or "
                       "uninstall the distributions named above.")  # fmt: skip
        if sandbox.tier == "rlimit":
            render.say(f"\nPROBLEM: {UNCONFINED}")
        if data["accelerator"] == NO_TORCH:  # a line of its own: a cell would break the command in two
            click.echo("\nTo train, install torch: pip install 'loopkit-rl[train]'")
        if not data["problems"]:
            click.echo("\nNo problems found.")
    sys.exit(1 if data["problems"] else 0)


def _trainer(plugins: Plugins, name: str, options: Mapping[str, Json], as_json: bool) -> None:
    """What one trainer needs, found or not."""
    family = [n for n in plugins.names("trainers") if n == name or n.startswith(f"{name}:")]
    entry = plugins.get("trainers", family[0] if family else name)
    cls = entry.load()
    facts = list(cls.diagnose(validate(cls.Options, {**options, **entry.preset}, f"trainer {entry.name}")))
    problems = [{"what": part, "message": message} for part, _, message in facts if message]
    if as_json:
        render.echo_json({"trainer": entry.name, "found": {part: f for part, f, _ in facts}, "problems": problems})
    elif not facts:
        click.echo(f"{entry.name} needs nothing but loopkit: see `loopkit doctor`.")
    else:
        click.echo(render.table([(part, f) for part, f, _ in facts], ["what", "found"]))
        for problem in problems:
            render.say(f"\nPROBLEM with {problem['what']}: {problem['message']}")
        if not problems:
            click.echo("\nNo problems found.")
    sys.exit(1 if problems else 0)


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
            plugins.note(entry.origin, str(error))


def _game(plugins: Plugins, name: str) -> None:
    """Make a game, and see which of other distributions' channels and detectors it can use.

    Where one asks for a name that the game uses itself, the game's own is used.
    """
    game = build_game(plugins, name, {})
    detectors_of(plugins, game, name)
    others: list[tuple[dict[str, Entry], Collection[str]]] = [
        (plugins.channels(name), own_channels(game)), (plugins.detectors(name), game.detectors),
    ]  # fmt: skip
    for entries, names in others:
        for key in entries.keys() & set(names):
            plugins.note(entries[key].origin, f"{entries[key]} is not used: {name} has a {key!r} of its own.")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _fits() -> dict[str, str]:
    """Memory, and the sizes of model that can be trained in it: whole, and with LoRA."""
    from loopkit.policy import fits

    total, free = fits.memory()
    lines = {"memory": f"{total / fits.GIB:.1f} GiB, {free / fits.GIB:.1f} free"}
    for name, rank, dtype in (("whole, fp32", 0, "float32"), ("LoRA, fp32", 16, "float32"),
                              ("LoRA, bf16", 16, "bfloat16")):  # fmt: skip
        most = fits.largest(free, lora_rank=rank, dtype=dtype)
        lines[f"trains, {name}"] = f"up to about {most / 1e9:.1f} B parameters" if most else "none: too little is free"
    return lines


def _accelerator() -> str:
    try:
        import torch
    except ImportError:
        return NO_TORCH
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none: runs on the CPU"
