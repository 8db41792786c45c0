"""``loopkit check --detectors``: precision and recall of a game's detectors, as tables or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from loopkit.checks.quality import AIM, Quality, Row, measure
from loopkit.cli import render
from loopkit.errors import PluginError, UsageError
from loopkit.experiment.resolve import build_game
from loopkit.registry import plugins as registry

SHOWN = 160


def report(
    plugins: registry.Plugins,
    names: Sequence[str],
    options: Mapping[str, object],
    least: float | None,
    verbose: bool,
    style: str,
    as_json: bool,
) -> int:
    """Measures and prints; the exit code: 1 where a game's labels cannot be played, or a share is below ``least``."""
    measured: list[Quality] = []
    faults: dict[str, str] = {}
    for name in names:
        try:
            game = build_game(plugins, name, dict(options))
            parts = {n: plugins.build(e) for n, e in plugins.detectors(name).items() if n not in game.detectors}
            others = {n: part for n, part in parts.items() if not part.asked_for}
            one = measure(game, {**game.detectors, **others}, name)
        except (PluginError, UsageError) as error:  # one broken plugin does not keep the others back
            if options:
                raise
            faults[name] = str(error)
            if not as_json:
                click.echo(f"{name}: {render.harmless(str(error))}", err=True)
            continue
        measured.append(one)
        if not as_json:
            _print(one, verbose, style)
    if as_json:
        render.echo_json([*(q.json() for q in measured), *({"game": n, "error": e} for n, e in faults.items())])
    low = [] if least is None else [f"{q.name}: {r.what}" for q in measured for r in _whole(q) if r.lowest < least]
    if low and not as_json:
        render.say(f"Below {least:g}: {', '.join(low)}.")
    return 1 if low or faults else 0


def _whole(one: Quality) -> list[Row]:
    return [r for r in one.rows if r.source == "all"]


def _print(one: Quality, verbose: bool, style: str) -> None:
    if not one.n:
        click.echo(f"{one.name}: no labelled transcripts. Give it some: labelled(), in docs/contracts.md.")
        return
    click.echo(f"{one.name}: {one.n} labelled transcripts. 95 % Wilson intervals.")
    rows = [[r.what, r.source, str(r.precision), str(r.recall)] for r in one.rows]
    click.echo(render.table(rows, ["detector, or clue", "transcripts", "precision", "recall"], style, keys=2))
    if below := [r.what for r in _whole(one) if r.lowest < AIM]:
        render.say(f"Below the aim of {AIM:g}: {', '.join(below)}.")
    if verbose and one.mistakes:
        mistakes = [
            [m.what, m.should, m.said, m.source, m.note, render.harmless(_short(m.words))] for m in one.mistakes
        ]
        mistakes = [["-" if cell is None else str(cell) for cell in line] for line in mistakes]
        click.echo(render.table(mistakes, ["of", "should say", "says", "from", "note", "words"], style))
    click.echo("")


def _short(words: Sequence[str]) -> str:
    text = " | ".join(words)
    return ascii(text if len(text) <= SHOWN else text[:SHOWN] + "...")[1:-1]
