"""``loopkit rescore``: rebuild what was made of recorded rollouts (scores, signals, clues, rewards, flags)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from loopkit.cli import render
from loopkit.cli.sandbox import sandbox_option
from loopkit.errors import UsageError
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import (
    OTHER_OPTIONS,
    RunDir,
    read_rollouts,
    read_shard,
    read_spec,
    score_row,
    shards,
    write_shard,
)
from loopkit.parts.judges import JUDGES
from loopkit.registry import plugins as registry
from loopkit.rollouts.metrics import summary
from loopkit.rollouts.scoring import Setup, score
from loopkit.running.runner import judges_of
from loopkit.system.files import to_json, write_whole

EPILOG = """\b
Examples:
  loopkit rescore runs/…/loophole-s0            # rebuild scores/ and eval scores
  loopkit rescore runs/…/* --check              # only compare: exit code 1 where a score differs

Rollouts are never touched, nor steps.jsonl, which says what was paid. Use it after a game, channel or detector has
changed.
"""


@click.command(epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Compare only; write nothing.")
@sandbox_option
@render.json_option
def rescore(runs: Sequence[Path], check: bool, as_json: bool) -> None:
    """Rebuild the scores of the recorded rollouts of RUNS (run directories, or experiments that hold them)."""
    plugins = registry.load()
    found = [
        d for r in runs for d in ([r] if (r / "run.toml").exists() else sorted(p.parent for p in r.glob("*/run.toml")))
    ]
    if not found:
        raise UsageError(f"{', '.join(map(str, runs))}: no run directory there (none holds a run.toml).")
    rows = []
    with render.Bars() as bars:
        for directory in found:
            spec = read_spec(directory)
            setup = set_up(plugins, spec, judges_of(spec, plugins, directory / JUDGES))
            with RunDir(directory).lock():
                n, changed = _rescore(directory, spec.game, setup, check, bars)
            rows.append({"run": str(directory), "rollouts": n, "changed": changed})
    if as_json:
        render.echo_json(rows)
    else:
        click.echo(render.table([list(r.values()) for r in rows], ["run", "rollouts", "changed"]))
    if check and any(r["changed"] for r in rows):
        raise SystemExit(1)


def _rescore(directory: Path, game: str, setup: Setup, check: bool, bars: render.Bars) -> tuple[int, int]:
    """(rollouts read, rows that differ from the scores on disk)."""
    pairs = [(path, directory / "scores" / path.name) for _, path in shards(directory / "rollouts")]
    evals = sorted(RunDir(directory).evals(game).glob("*/rollouts.parquet"))
    pairs += [(path, path.with_name("scores.parquet")) for path in evals if OTHER_OPTIONS not in path.parent.name]
    n = changed = 0
    for k, (said, derived) in enumerate(pairs):
        read = read_rollouts(said, setup.game)
        scored = score(setup, [r for r, _ in read], [occurrence for _, occurrence in read])
        rows = [score_row(s) for s in scored]
        before = read_shard(derived) if derived.exists() else []
        differ = sum(a != b for a, b in zip(rows, before, strict=False)) + abs(len(rows) - len(before))
        n, changed = n + len(rows), changed + differ
        if differ and not check:
            write_shard(derived, rows)
            if (numbers := derived.with_name("metrics.json")).exists():
                write_whole(numbers, to_json(asdict(summary(setup, scored))))
        bars.update(directory.name, "rescore", k + 1, len(pairs))
    return n, changed
