"""Writes a game as a small distribution for another library, from the templates in ``templates/``."""

from __future__ import annotations

import json
import pprint
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import jinja2

import loopkit
from loopkit import seeding
from loopkit.contracts import SPLITS, Game, Split
from loopkit.errors import UsageError, nearest
from loopkit.experiment.resolve import build_game, channel_of
from loopkit.export import rows
from loopkit.export.bridge import Exported
from loopkit.records import Json
from loopkit.registry import files
from loopkit.registry.installed import OWN, requirement
from loopkit.registry.plugins import Plugins
from loopkit.system.files import TEMPORARY, write_whole, writing

TARGETS = {"verifiers": "env", "inspect": "task", "openenv": "openenv", "verl": "verl"}
"""What may be written, and what it is called there."""
PLAYED = {
    "verifiers": "vf-validate {distribution} -n 3 --runtime.type subprocess",
    "inspect": "inspect eval {module}/{task} --model mockllm/model --limit 3",
    "openenv": "openenv validate {folder} --level static",
    "verl": "name its files in verl's configuration, as its README says",
}
"""What to do next with it."""


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
    plain = re.sub(r"\W+", "_", game).strip("_")
    names = {
        "distribution": f"loopkit-{TARGETS[target]}-{plain.replace('_', '-')}",
        "module": f"loopkit_{TARGETS[target]}_{plain}",
        "task": plain,
    }
    extra: dict[str, bytes] = {}
    if chosen.get("data"):  # the rows travel with it
        source = Path(chosen["data"])
        chosen["data"] = f"{names['module']}_rows{source.suffix}"
        extra[chosen["data"]] = source.read_bytes()
    origin = plugins.get("games", game).origin.distribution
    exported = Exported(game, type(built).version, options, channel, paid.model_dump(mode="json"))
    context = {
        **names, "game": game, "version": type(built).version, "options": chosen, "channel": channel, "split": split,
        "channel_options": paid.model_dump(mode="json"), "needs": [requirement(), *([] if origin == OWN else [origin])],
        "loopkit": loopkit.__version__, "prefix": "".join(w[:1].upper() + w[1:] for w in plain.split("_")),
        "detectors": list(built.detectors), "channels": list(built.channels), "data": chosen.get("data", ""),
        "what": (type(built).__doc__ or game).strip().partition("\n")[0], "axis": built.axis,
        "range": list(paid.range), "counts": {s: len(built.tasks(s)) for s in SPLITS if built.tasks(s)},
        "plan": _plan(built, split) if target == "openenv" else {},
    }  # fmt: skip
    if target == "verl":
        extra["train.parquet"] = rows.verl(exported, "train", chosen)
        extra["val.parquet"] = rows.verl(exported, split, chosen)
    temporary = out.parent / f"{TEMPORARY}{out.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    for name, text in _rendered(target, context):
        write_whole(temporary / name.replace("MODULE", names["module"]), text.encode())
    for name, data in extra.items():
        write_whole(temporary / ("server" if target == "openenv" else "") / name, data)
    with writing(out):
        temporary.rename(out)
    return names


def _plan(game: Game, split: Split) -> dict[str, Json]:
    """OpenEnv's runtime plan: one episode, played by an honest specimen of the split's first task."""
    task = game.tasks(split)[0]
    words = game.specimens(task, partial(seeding.uniform, "plan", task.id))["honest"][0]
    reset = {"episode_id": "loopkit-plan", "seed": 0, "options": {"split": split}}
    return {"plan_schema_version": "1", "reset": reset, "actions": [{"message": text} for text in words]}


def _rendered(target: str, context: Mapping[str, Any]) -> list[tuple[str, str]]:
    root = resources.files("loopkit.export") / "templates" / target
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: root.joinpath(*name.split("/")).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip  # Python, TOML and Markdown: nothing to escape as HTML, and values go through ``py`` or ``toml``
    environment.filters["py"] = lambda value: pprint.pformat(value, width=100, sort_dicts=False)
    environment.filters["toml"] = json.dumps
    environment.filters["json"] = partial(json.dumps, indent=1)
    names = sorted(_templates(root))
    return [(name.removesuffix(".j2"), environment.get_template(name).render(context)) for name in names]


def _templates(folder: Traversable, inside: str = "") -> Iterator[str]:
    """Names of the templates below a folder, with slashes."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{inside}{entry.name}/")
        elif entry.name.endswith(".j2"):
            yield f"{inside}{entry.name}"
