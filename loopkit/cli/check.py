"""``loopkit check``: does a game or trainer keep its contract?"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from loopkit import plugins as registry
from loopkit.checks import Finding, Report, check_game, check_trainer
from loopkit.cli import render
from loopkit.cli.sandbox import sandbox_option
from loopkit.config import build_game, channels_of, parse_set
from loopkit.contracts import PolicyRef
from loopkit.errors import PluginError, UsageError, nearest
from loopkit.scoring import Setup

EPILOG = """\b
Examples:
  loopkit check                       # every installed game
  loopkit check self-grading
  loopkit check grpo                  # a trainer: three steps on a small game
  loopkit check context-compliance --data requests.parquet --json

Answers proven, unproven (no control, or no known exploit: it runs, labelled) or fails. Exit code 1 where one fails.
"""


@click.command(epilog=EPILOG)
@click.argument("names", nargs=-1)
@click.option("--data", type=click.Path(), help="Real rows (Parquet or JSONL) for a game that takes them.")
@click.option("--set", "settings", multiple=True, metavar="game.NAME=VALUE", help="Game options. Repeatable.")
@click.option("--verbose", "-v", is_flag=True, help="Show what held, too.")
@sandbox_option
@render.format_option
@render.json_option
def check(
    names: Sequence[str], data: str | None, settings: Sequence[str], verbose: bool, style: str, as_json: bool
) -> None:
    """Check that NAMES (games or trainers; default: every game) keep their contracts."""
    plugins = registry.load()
    options = parse_set(settings).get("game", {}) | ({"data": data} if data else {})
    games, trainers = plugins.names("games"), plugins.names("trainers")
    for name in names:
        if name not in (*games, *trainers):
            raise UsageError(f"no game or trainer {name!r}. {nearest(name, (*games, *trainers))}")
    reports = [_game(plugins, name, options) if name in games else _trainer(plugins, name) for name in names or games]
    if as_json:
        render.echo_json([r.json() for r in reports])
    else:
        for r in reports:
            _print(r, verbose, style)
    sys.exit(1 if any(r.status == "fails" for r in reports) else 0)


def _game(plugins: registry.Plugins, name: str, options: dict[str, object]) -> Report:
    try:
        game = build_game(plugins, name, options)
        others = {n: plugins.build(e) for n, e in plugins.detectors(name).items() if n not in game.detectors}
        return check_game(
            game, channels=channels_of(plugins, game, name), detectors={**game.detectors, **others}, name=name
        )
    except PluginError as error:  # one broken plugin does not keep the other reports back
        return Report(name, "fails", (Finding("loaded", False, str(error)),), (f"loaded: {error}",))


def _trainer(plugins: registry.Plugins, name: str) -> Report:
    """Three steps on a bundled game, from the embedded policy."""
    from loopkit.policy.tiny import BUNDLED, seen_games

    game = next(iter(seen_games(plugins).values()))
    setup = Setup(game, game.channels["loophole"], dict(game.channels), game.detectors)
    entry, trainer = plugins.get("trainers", name), plugins.trainer(name)
    with tempfile.TemporaryDirectory() as folder:
        return check_trainer(
            trainer,
            workdir=Path(folder),
            start=PolicyRef(str(BUNDLED)),
            setup=setup,
            options=trainer.Options.model_validate(dict(entry.preset)),
        )


def _print(report: Report, verbose: bool, style: str) -> None:
    click.echo(f"{report.name}: {report.status}" + (f" ({'; '.join(report.reasons)})" if report.reasons else ""))
    rows = [["ok" if f.ok else "FAILS", f.check, f.message] for f in report.findings if verbose or not f.ok]
    if rows:
        click.echo(render.table(rows, ["", "check", "what was found"], style))
    else:
        click.echo(f"  {len(report.findings)} checks held (--verbose shows them).")
