"""``loopkit plan``: how many seeds and prompts a difference needs, from earlier runs or from assumptions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import click

from loopkit.cli import render
from loopkit.cli.numbers import Finite
from loopkit.errors import UsageError
from loopkit.front.outcome import Result
from loopkit.front.reading import finished_results
from loopkit.stats.power import PROMPTS, SEEDS, Assumed, earlier, fewest, power

EPILOG = """\b
Examples:
  loopkit plan --difference 20 --spread 10
  loopkit plan --from runs/context-compliance-1a2b3c  # what those runs showed and their spread
  loopkit plan --from runs/context-compliance-1a2b3c --difference 15 --against control

All numbers are percentage points. Exit codes: 0 done, 2 usage.
"""


@click.command(epilog=EPILOG)
@click.option("--difference", type=Finite(-100, 100), help="To be shown, in points.  [default: of --from]")
@click.option("--spread", type=Finite(0, 100),
              help="Standard deviation of the difference over seeds, in points.  [default: of --from]")  # fmt: skip
@click.option("--from", "source", type=click.Path(path_type=Path, file_okay=False),
              help="An experiment's directory: spread, rates and difference are taken from its seeds.")  # fmt: skip
@click.option("--measure", default="exploit", show_default=True, help="With --from: exploit, or a score or detector.")
@click.option("--against", default="base", show_default=True, help="With --from: the arm beside loophole.")
@click.option("--margin", type=Finite(0, 100), default=10.0, show_default=True,
              help="The difference must be shown to lie above it, in points.")  # fmt: skip
@click.option("--base", type=Finite(0, 100), default=10.0, show_default=True,
              help="Without --from: rate of the other arm, in percent.")  # fmt: skip
@click.option("--power", "least", type=Finite(0.5, 0.99), default=0.8, show_default=True,
              help="Chance with which the claim is to be made.")  # fmt: skip
@render.format_option
@render.json_option
def plan(
    difference: float | None,
    spread: float | None,
    source: Path | None,
    measure: str,
    against: str,
    margin: float,
    base: float,
    least: float,
    style: str,
    as_json: bool,
) -> None:
    """Say how many seeds, and prompts a seed, show a difference with a given chance."""
    if source is None:
        if difference is None or spread is None:
            raise UsageError("Nothing to plan from: give --difference and --spread in points, or --from DIRECTORY.")
        rates = (min(1.0, max(0.0, (base + difference) / 100)), base / 100)
        assumed = Assumed(difference / 100, spread / 100, margin / 100, rates)
    else:
        loophole, other, prompts = _earlier(source, measure, against)
        wished = None if difference is None else difference / 100
        if spread is None:
            assumed = earlier(loophole, other, prompts, margin / 100, wished)
        else:
            rates = (fmean(loophole), fmean(other))
            assumed = Assumed(rates[0] - rates[1] if wished is None else wished, spread / 100, margin / 100, rates)
    table = {s: {n: power(assumed, s, n) for n in PROMPTS} for s in SEEDS}
    needed = {n: fewest(assumed, n, least) for n in PROMPTS}
    if as_json:
        render.echo_json({"assumed": asdict(assumed), "power": table, "seeds": needed, "least": least})
        return
    rows = [[s, *(f"{row[n]:.2f}" for n in PROMPTS)] for s, row in table.items()]
    click.echo(render.table(rows, ["seeds", *(f"{n} prompts" for n in PROMPTS)], style))
    render.say(
        f"\nThe chance to claim, in most seeds, a difference of {100 * assumed.difference:.1f} points above a margin "
        f"of {100 * assumed.margin:g}, where it varies over seeds by {100 * assumed.spread:.1f} points (standard "
        f"deviation) and the arms' rates are {100 * assumed.rates[0]:.1f} and {100 * assumed.rates[1]:.1f} %. Of one "
        "test: a verdict needs all of its own, so plan for the weakest."
    )
    enough = [n for n in PROMPTS if needed[n]]
    if not enough:
        render.say(f"No number of seeds up to {SEEDS[-1]} does so with chance {least:g}.")
        return
    cheapest = min(enough, key=lambda n: (needed[n] or 0) * n)
    render.say(f"Fewest for {least:g}: {needed[enough[-1]]} seeds of {enough[-1]} prompts; fewest evaluated in all: "
               f"{needed[cheapest]} seeds of {cheapest}.")  # fmt: skip


def _earlier(source: Path, measure: str, against: str) -> tuple[list[float], list[float], int]:
    """(S,) rates of loophole and of the other arm in the seeds that have both, and the fewest prompts of a run."""
    result = Result(source, finished_results(source))
    if lacking := [arm for arm in ("loophole", against) if arm not in result.arms]:
        raise UsageError(
            f"{source} has no arm {lacking[0]!r}: it has {', '.join(result.arms)}. Name one with --against."
        )
    columns = zip(result.values("loophole", measure), result.values(against, measure), strict=True)
    pairs = [(a, b) for a, b in columns if a is not None and b is not None]
    if not pairs:
        raise UsageError(f"{source} has no measure {measure!r} in both arms: name a score or detector of its table.")
    return [a for a, _ in pairs], [b for _, b in pairs], min(run.n for run in result.results.runs)
