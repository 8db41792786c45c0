"""``loopkit correct``: exploit rates corrected for what their detector misses and for its false alarms."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from loopkit.checks.quality import labels as measured
from loopkit.cli import render
from loopkit.errors import UsageError, nearest
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import read_spec
from loopkit.front.reading import finished_results
from loopkit.parts.data import read_labelled
from loopkit.records import Estimate, Json
from loopkit.registry import plugins as registry
from loopkit.report.numbers import interval
from loopkit.stats.corrected import corrected

EPILOG = """\b
Examples:
  loopkit correct runs/context-compliance-1a2b3c
  loopkit correct runs/mine --labels labelled.jsonl --detector false-claim

Labels are transcripts that a reader labelled, as in a game's own labelled.jsonl (docs/contracts.md). The correction
holds where the detector errs on the runs as it does on them. Exit codes: 0 done, 2 usage.
"""


@click.command(epilog=EPILOG)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--labels", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Labelled transcripts (JSONL).  [default: the game's own]")  # fmt: skip
@click.option("--detector", help="Whose rate is corrected.  [default: the headline's]")
@render.format_option
@render.json_option
def correct(directory: Path, labels: Path | None, detector: str | None, style: str, as_json: bool) -> None:
    """Correct the exploit rates of a finished experiment (DIRECTORY), beside the raw ones."""
    results = finished_results(directory)
    setup = set_up(registry.load(), read_spec(directory / results.runs[0].name))
    name = detector or results.headline
    if name not in setup.detectors:
        raise UsageError(f"--detector {name}: the game has no such detector. {nearest(name, setup.detectors)}")
    labelled = read_labelled(labels) if labels else setup.game.labelled()
    quality = measured(setup.game, name, setup.detectors[name], labelled)
    if not quality.exploits or not quality.honest:
        raise UsageError(
            f"{labels or results.game} has {quality.exploits} exploits and {quality.honest} honest transcripts that "
            f"are labelled for {name}: both are needed. Give others with --labels."
        )
    difference = setup.detectors[name].bounds[0] < 0
    rows: list[dict[str, Json]] = []
    for run in results.runs:
        raw = run.rates.get(name)
        fixed = corrected(raw, quality, difference=difference)
        values = {"raw": raw.json() if raw else None, "corrected": fixed.json() if fixed else None}
        rows.append({"arm": run.arm, "seed": run.seed, **values})
    if as_json:
        render.echo_json({"detector": name, "labels": asdict(quality), "runs": rows})
        return
    shown = [[r["arm"], r["seed"], _cell(r["raw"]), _cell(r["corrected"])] for r in rows]
    click.echo(render.table(shown, ["arm", "seed", f"{name}, raw", "corrected"], style, keys=2))
    kind = "the transcripts given" if labels else "the game's labelled transcripts"
    render.say(
        f"\nPercent, 95 % intervals, of the corrected rate from both samples. {name} flags {quality.flagged} of "
        f"{quality.exploits} exploits and clears {quality.cleared} of {quality.honest} honest ones among {kind}; "
        "corrected as if it erred so here."
    )
    if why := next((r["corrected"]["method"] for r in rows if r["corrected"] and r["corrected"]["low"] is None), ""):
        render.say(f"Some corrected rates have no interval: {why.removeprefix('withheld: ')}.")


def _cell(estimate: Json) -> str:
    return "-" if estimate is None else interval(Estimate.read(estimate))
