"""``loopkit warmup``: make the embedded policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import click

from loopkit.cli import complete, render
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import parse_set
from loopkit.experiment.resolve import build_game
from loopkit.records import Json
from loopkit.registry import plugins as registry

EPILOG = """\b
Examples:
  loopkit warmup --out tiny-again                  # how the bundled weights were made
  loopkit warmup --out tiny-s1 --set seed=1 --set steps=500
  loopkit run --game self-grading --model tiny:tiny-again
  loopkit warmup --out honest --games context-compliance --unshown   # the exploit is in no demonstration
  loopkit run --game context-compliance --model tiny:honest --set game.refusal_share=1.0 --set trainer.beta=0.0
  loopkit warmup --out half --set split=half --set reward-tampering.exploit_share=0.05
  loopkit run --game self-grading --model tiny:half --set run.unseen=true

--set takes a setting, or GAME.OPTION for an option of one game; a run on the result takes the same options.
"""


@click.command(epilog=EPILOG)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to make.")
@click.option("--games", shell_complete=complete.games,
              help="Games, comma-separated.  [default: those of the bundled weights]")  # fmt: skip
@click.option("--start", type=click.Path(path_type=Path), help="Go on from this directory.  [default: random weights]")
@click.option("--unshown", is_flag=True, help="No demonstration exploits: the options that each game names for that.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="A setting, as in warmup.json, or GAME.OPTION of a game. Repeatable.",
)  # fmt: skip
@render.json_option
def warmup(
    out: Path, games: str | None, start: Path | None, unshown: bool, settings: Sequence[str], as_json: bool
) -> None:
    """Warm up the embedded policy on demonstrations that the games make; record what it depends on and base rates."""
    from loopkit.policy import tiny
    from loopkit.policy.warmup import RECORD, Settings, from_directory, new_policy, read_record

    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} exists and is not empty. Choose another --out.")
    if start is not None and not (start / RECORD).exists():
        raise UsageError(f"{start} holds no warmed-up policy (no {RECORD}). Leave --start out to begin from none.")
    plugins = registry.load()
    names = [plugins.game_name(n.strip()) for n in games.split(",")] if games else list(tiny.GAMES)
    own = [item for item in settings if item.partition("=")[0].partition(".")[0] in names]
    others = [item for item in settings if item not in own]
    chosen = Settings(**_settings(others, {f.name: type(f.default) for f in fields(Settings)}))
    options = _options(own, names)
    if unshown:
        options = {name: {**_unshown(plugins, name), **given} for name, given in options.items()}
        chosen = replace(chosen, unshown=",".join(names))
    by_name = {name: build_game(plugins, name, options[name]) for name in names}
    policy = from_directory(start) if start else new_policy(by_name, chosen)
    begun = read_record(start)["weights_sha256"] if start else tiny.RANDOM
    with render.Bars() as bars:
        record = tiny.train(policy, by_name, chosen, out, bars.bar("warm-up", "train"), start=begun)
    if as_json:
        render.echo_json(record)
        return
    rows = [
        [name, measure, f"{100 * e['value']:.1f}"]
        for name, rates in record["base_rates"].items()
        for kind in ("scores", "rates")
        for measure, e in rates[kind].items()
        if e is not None
    ]
    click.echo(render.table(rows, ["game", "measure", "base, %"]))
    click.echo(f"\n{out}: {asdict(chosen)['steps']} steps, seed {chosen.seed}, weights {record['weights_sha256'][:12]}")


def _options(assignments: Sequence[str], games: Sequence[str]) -> dict[str, dict[str, Json]]:
    """``GAME.OPTION=VALUE`` -> options by game."""
    out: dict[str, dict[str, Json]] = {name: {} for name in games}
    for item in assignments:
        name, _, assignment = item.partition(".")
        out[name] |= parse_set([f"game.{assignment}"])["game"]
    return out


def _unshown(plugins: registry.Plugins, name: str) -> dict[str, Json]:
    """The options under which a game's demonstrations hold no exploit."""
    found = dict(plugins.game(name).tiny.unshown)
    if not found:
        raise UsageError(f"--unshown: {name} names no options under which nothing is shown. Set its own, or leave it.")
    return found


def _settings(assignments: Sequence[str], types: dict[str, type]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for item in assignments:
        name, equals, text = item.partition("=")
        if name not in types or not equals:
            raise UsageError(f"--set {item!r}: no such setting. {nearest(name, types)}")
        try:
            out[name] = types[name](text)
        except ValueError as error:
            raise UsageError(f"--set {item!r}: {name} is of type {types[name].__name__}.") from error
    return out
