"""``loopkit seal``: are a run's files what was written? Of a run without digests: from now on it can be told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from loopkit.cli import render
from loopkit.cli.rescore import runs_in
from loopkit.experiment import digests, verifying
from loopkit.experiment.rundir import RunDir
from loopkit.records import Json

EPILOG = """\b
Examples:
  loopkit seal runs/…  # hold every file to its digest; take digests where there are none
  loopkit seal runs/… --check  # write nothing; exit code 1 where a run is damaged or has none
  loopkit seal runs/…/loophole-s0 --anew # take them again, after a change you mean

Digests show accidents and careless edits. They are not signatures: whoever can change a run can seal it again.
"""


@click.command(epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Compare only; write nothing.")
@click.option("--anew", is_flag=True, help="Take digests of the runs as they are now, whatever they were known by.")
@render.json_option
def seal(runs: Sequence[Path], check: bool, anew: bool, as_json: bool) -> None:
    """Hold every file of RUNS (run directories, or experiments that hold them) to its digest, large ones too."""
    if check and anew:
        raise click.UsageError("--check writes nothing, and --anew writes. Choose one.")
    rows = []
    for run in runs_in(runs):
        with RunDir(run).lock():
            rows.append(_sealed(run, check, anew))
    if as_json:
        render.echo_json(rows)
    else:
        shown = [[r["run"], r["files"], "; ".join([r["state"], *r["damage"]])] for r in rows]
        click.echo(render.table(shown, ["run", "files", "state"]))
    if any(r["damage"] or (check and r["state"] == verifying.NOT_VERIFIABLE) for r in rows):
        raise SystemExit(1)


def _sealed(run: Path, check: bool, anew: bool) -> dict[str, Json]:
    known = None if anew else digests.read(run)
    if known is not None:
        damage = verifying.damage(run, whole=True)
        return {"run": str(run), "files": len(known.files), "state": "damaged" if damage else "whole", "damage": damage}
    if check:
        return {"run": str(run), "files": 0, "state": verifying.NOT_VERIFIABLE, "damage": []}
    return {"run": str(run), "files": verifying.seal(run), "state": "sealed as it is", "damage": []}
