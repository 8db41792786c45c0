"""``loopkit check GAME --base MODEL``: base rates on train and on test, held to agree."""

from __future__ import annotations

from collections.abc import Mapping

import click

from loopkit.cli import render
from loopkit.front import bases
from loopkit.records import Estimate, Json


def report(game: str, model: str, options: Mapping[str, Json], unseen: bool, style: str, as_json: bool) -> int:
    """Print them; the exit code is 1 where one differs."""
    pairs = bases.compare(game, model, options, unseen=unseen)
    apart = [pair.measure for pair in pairs if not pair.agrees]
    if as_json:
        render.echo_json({"game": game, "model": model, "apart": apart, "rates": [_json(pair) for pair in pairs]})
        return int(bool(apart))
    rows = [
        [pair.measure, _shown(pair.train), _shown(pair.test), _difference(pair), "" if pair.agrees else "apart"]
        for pair in pairs
    ]
    click.echo(render.table(rows, [game, "train, %", "test, %", "train - test", ""], style=style))
    n = pairs[0].train.n if pairs else 0
    if apart:
        click.echo(
            f"{model} does not play train prompts as it plays held-out ones ({', '.join(apart)}; n = {n} each): base "
            "rates and break-even of train are not those of test. Warm up with split=half, and train with run.unseen."
        )
    else:
        click.echo(
            f"{model} plays train prompts as held-out ones, within {100 * bases.MARGIN:g} points (n = {n} each)."
        )
    return int(bool(apart))


def _shown(found: Estimate) -> str:
    return f"{100 * found.value:.1f}"


def _difference(pair: bases.Pair) -> str:
    difference = 100 * (pair.train.value - pair.test.value)
    return f"{difference:+.1f} [{100 * pair.low:+.1f}, {100 * pair.high:+.1f}]"


def _json(pair: bases.Pair) -> dict[str, Json]:
    train, test = pair.train.json(), pair.test.json()
    return {"measure": pair.measure, "train": train, "test": test, "low": pair.low, "high": pair.high,
            "agrees": pair.agrees}  # fmt: skip
