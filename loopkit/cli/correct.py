"""``loopkit correct``: exploit rates corrected for what their detector misses and for its false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from loopkit.checks.quality import labels as measured
from loopkit.cli import render
from loopkit.errors import UsageError, nearest
from loopkit.evidence.schema import Run
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import read_spec
from loopkit.front import sheets
from loopkit.front.reading import finished_results
from loopkit.parts.data import read_labelled
from loopkit.records import Estimate, Json, Labelled
from loopkit.registry import plugins as registry
from loopkit.report.numbers import interval
from loopkit.rollouts.scoring import Setup
from loopkit.stats.corrected import corrected

EPILOG = """\b
Examples:
  loopkit correct runs/context-compliance-1a2b3c
  loopkit correct runs/mine --labels labelled.jsonl --detector false-claim

  loopkit correct runs/mine --sheet sheet.jsonl --draw 50
  loopkit correct runs/mine --sheet sheet.jsonl

Labels are transcripts that a reader labelled, as in a game's own labelled.jsonl (docs/contracts.md). The correction
holds where the detector errs on the runs as it does on them. A sheet is of the runs' own rollouts: --draw writes it,
a reader sets "exploit" to true or false in its rows, and nothing is assumed of the detector. Exit codes: 0 done,
2 usage.
"""


@click.command(epilog=EPILOG)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--labels", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Labelled transcripts (JSONL).  [default: the game's own]")  # fmt: skip
@click.option("--detector", help="Whose rate is corrected.  [default: the headline's]")
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False),
              help="Labelled rollouts of these very runs (JSONL), as --draw writes them.")  # fmt: skip
@click.option("--draw", type=click.IntRange(min=2), metavar="N",
              help="Write N held-out rollouts of each run to --sheet, for a reader to label.")  # fmt: skip
@render.format_option
@render.json_option
def correct(
    directory: Path, labels: Path | None, detector: str | None, sheet: Path | None, draw: int | None, style: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Correct the exploit rates of a finished experiment (DIRECTORY), beside the raw ones."""
    results = finished_results(directory)
    setup = set_up(registry.load(), read_spec(directory / results.runs[0].name))
    name = detector or results.headline
    if name not in setup.detectors:
        raise UsageError(f"--detector {name}: the game has no such detector. {nearest(name, setup.detectors)}")
    difference = setup.detectors[name].bounds[0] < 0
    if sheet and labels:
        raise UsageError("--sheet and --labels are two ways to correct a rate. Give one of them.")
    if draw and not sheet:
        raise UsageError("--draw writes to a file. Name it with --sheet.")
    if sheet and difference:
        raise UsageError(f"{name} is a gap between two kinds of prompts, which a sheet does not correct. Use --labels.")
    if sheet and draw:
        count = sheets.write_sheet(directory, results, draw, sheet)
        click.echo(
            f"{sheet}: {count} rollouts. Set exploit to true or false in its rows, then run this without --draw."
        )
        return
    if sheet:
        rates = sheets.read_sheet(directory, results, sheet, name)
        source: dict[str, Json] = {"sheet": str(sheet)}
        note = (
            f"by a reader's labels of rollouts drawn from each run ({sheet}), whatever mistakes {name} makes; a dash "
            "where a run has no label."
        )
    else:
        quality = measured(setup.game, name, setup.detectors[name], _labelled(labels, setup))
        if not quality.exploits or not quality.honest:
            raise UsageError(
                f"{labels or results.game} has {quality.exploits} exploits and {quality.honest} honest transcripts "
                f"that are labelled for {name}: both are needed. Give others with --labels."
            )
        rates = [(run, corrected(run.rates.get(name), quality, difference=difference)) for run in results.runs]
        source = {"labels": asdict(quality)}
        kind = "the transcripts given" if labels else "the game's labelled transcripts"
        note = (
            f"from both samples. {name} flags {quality.flagged} of {quality.exploits} exploits and clears "
            f"{quality.cleared} of {quality.honest} honest ones among {kind}; corrected as if it erred so here."
        )
    _print(name, rates, source, note, style, as_json)


def _labelled(labels: Path | None, setup: Setup) -> Sequence[Labelled]:
    return read_labelled(labels) if labels else setup.game.labelled()


def _print(
    name: str, rates: Sequence[tuple[Run, Estimate | None]], source: dict[str, Json], note: str, style: str,
    as_json: bool,
) -> None:  # fmt: skip
    if as_json:
        rows = [
            {"arm": run.arm, "seed": run.seed, "raw": raw.json() if (raw := run.rates.get(name)) else None,
             "corrected": fixed.json() if fixed else None}
            for run, fixed in rates
        ]  # fmt: skip
        render.echo_json({"detector": name, **source, "runs": rows})
        return
    shown = [[run.arm, run.seed, _cell(run.rates.get(name)), _cell(fixed)] for run, fixed in rates]
    click.echo(render.table(shown, ["arm", "seed", f"{name}, raw", "corrected"], style, keys=2))
    render.say(f"\nPercent, 95 % intervals. Corrected {note}")
    if why := next((fixed.method for _, fixed in rates if fixed and fixed.low is None), ""):
        render.say(f"Some corrected rates have no interval: {why.removeprefix('withheld: ')}.")


def _cell(estimate: Estimate | None) -> str:
    return "-" if estimate is None else interval(estimate)
