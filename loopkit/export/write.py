"""Writes a game as a small distribution for another library, from the templates in ``templates/``."""

from __future__ import annotations

import json
import pprint
import re
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

import loopkit
from loopkit.contracts import SPLITS, Split
from loopkit.errors import UsageError, nearest
from loopkit.experiment.resolve import build_game, channel_of
from loopkit.records import Json
from loopkit.registry import files
from loopkit.registry.installed import OWN, requirement
from loopkit.registry.plugins import Plugins
from loopkit.system.files import TEMPORARY, write_whole, writing

TARGETS = {"verifiers": "env", "inspect": "task"}
"""What may be written, and what it is called there."""


def write(
    plugins: Plugins,
    game: str,
    target: str,
    out: Path,
    *,
    options: Mapping[str, Json],
    channel: str = "loophole",
    channel_options: Mapping[str, Json] | None = None,
    split: Split = "test",
) -> dict[str, str]:
    """Write the distribution to ``out``, whole or not at all -> its names (distribution, module, task).

    Raises UsageError where ``out`` is there already, or a name or option is none of the game's.
    """
    if target not in TARGETS:
        raise UsageError(f"--to {target}: no such target. {nearest(target, TARGETS)}")
    if out.exists():
        raise UsageError(f"{out} is there already, and nothing in it is overwritten. Remove it, or name another --out.")
    if files.is_file(game):
        raise UsageError(
            f"{game} is a file, and an exported environment needs its game from a distribution. Make one: `loopkit new "
            "game NAME` shows how."
        )
    built = build_game(plugins, game, options)
    if built.fresh:
        raise UsageError(
            f"{game} begins a fresh dialogue under these options, and an exported environment has one dialogue. Leave "
            "the option out."
        )
    paid = channel_of(plugins, built, game, channel, channel_options or {}, "channel")
    if split not in SPLITS or not built.tasks(split):
        raise UsageError(f"{game} has no tasks in split {split!r}. Choose another --split of {', '.join(SPLITS)}.")
    chosen = built.options.model_dump(mode="json")
    if chosen.get("data"):
        chosen["data"] = str(Path(chosen["data"]).resolve())  # it is read from wherever the environment is run
    plain = re.sub(r"\W+", "_", game).strip("_")
    names = {
        "distribution": f"loopkit-{TARGETS[target]}-{plain.replace('_', '-')}",
        "module": f"loopkit_{TARGETS[target]}_{plain}",
        "task": plain,
    }
    origin = plugins.get("games", game).origin.distribution
    context = {
        **names, "game": game, "version": type(built).version, "options": chosen, "channel": channel, "split": split,
        "channel_options": paid.model_dump(mode="json"), "needs": [requirement(), *([] if origin == OWN else [origin])],
        "loopkit": loopkit.__version__, "prefix": "".join(w[:1].upper() + w[1:] for w in plain.split("_")),
        "detectors": list(built.detectors), "channels": list(built.channels),
        "what": (type(built).__doc__ or game).strip().partition("\n")[0],
    }  # fmt: skip
    temporary = out.parent / f"{TEMPORARY}{out.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    for name, text in _rendered(target, context):
        write_whole(temporary / name.replace("MODULE", names["module"]), text.encode())
    with writing(out):
        temporary.rename(out)
    return names


def _rendered(target: str, context: Mapping[str, Any]) -> list[tuple[str, str]]:
    root = resources.files("loopkit.export") / "templates" / target
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (root / name).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip  # Python, TOML and Markdown: nothing to escape as HTML, and values go through ``py`` or ``toml``
    environment.filters["py"] = lambda value: pprint.pformat(value, width=100, sort_dicts=False)
    environment.filters["toml"] = json.dumps
    return [
        (file.name.removesuffix(".j2"), environment.get_template(file.name).render(context))
        for file in sorted(root.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".j2")
    ]
