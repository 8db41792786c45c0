"""``loopkit rescore``: rebuild what was made of recorded rollouts (scores, signals, clues, rewards, flags)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from loopkit.cli import render
from loopkit.cli.sandbox import sandbox_option
from loopkit.elsewhere.recorded import NAME as ELSEWHERE
from loopkit.errors import RunError, UsageError
from loopkit.experiment import digests
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import OTHER_OPTIONS, RunDir, read_spec
from loopkit.experiment.shards import read_rollouts, read_shard, score_row, shard, shards
from loopkit.experiment.verifying import damage
from loopkit.parts.judges import JUDGES
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.rollouts.metrics import summary
from loopkit.rollouts.scoring import Setup, score
from loopkit.running.runner import judges_of
from loopkit.system.files import to_json

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
    rows = []
    with render.Bars() as bars:
        for directory in runs_in(runs):
            spec = read_spec(directory)
            if spec.game == ELSEWHERE:
                raise UsageError(
                    f"{directory} was made elsewhere: no game scores it. Compare its logs again, or watch with another "
                    "trusted function."
                )
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


def runs_in(directories: Sequence[Path]) -> list[Path]:
    """Run directories, and those that experiments hold. Raises UsageError where there is none."""
    runs = [
        run
        for d in directories
        for run in ([d] if (d / "run.toml").exists() else sorted(p.parent for p in d.glob("*/run.toml")))
    ]
    if not runs:
        raise UsageError(f"{', '.join(map(str, directories))}: no run directory there (none holds a run.toml).")
    return runs


def _rescore(directory: Path, game: str, setup: Setup, check: bool, bars: render.Bars) -> tuple[int, int]:
    """(rollouts read, rows that differ from the scores on disk). Raises RunError where what was said is damaged."""
    run = RunDir(directory)
    damaged = [name for name in damage(directory) if not _derived(name)]
    digests.refuse(directory, damaged)
    pairs = [(path, directory / "scores" / path.name) for _, path in shards(directory / "rollouts")]
    evals = [folder for folder in run.evaluations(game) if OTHER_OPTIONS not in folder.name]
    pairs += [(folder / "rollouts.parquet", folder / "scores.parquet") for folder in evals]
    n = changed = 0
    for k, (rollouts, derived) in enumerate(pairs):
        read = read_rollouts(rollouts, setup.game)
        scored = score(setup, [r for r, _ in read], [occurrence for _, occurrence in read])
        rows = [score_row(s) for s in scored]
        before = _before(derived)
        differ = sum(a != b for a, b in zip(rows, before, strict=False)) + abs(len(rows) - len(before))
        n, changed = n + len(rows), changed + differ
        if (differ or run.damaged(derived)) and not check:
            run.rebuild(derived, shard(rows), rollouts)
        numbers = derived.with_name("metrics.json")
        if (differ or run.damaged(numbers)) and not check and numbers.exists():
            run.rebuild(numbers, to_json(asdict(summary(setup, scored))), rollouts)
        bars.update(directory.name, "rescore", k + 1, len(pairs))
    return n, changed


def _derived(damaged: str) -> bool:
    """Whether it is what a rescore rebuilds."""
    return damaged.startswith("scores/") or bool(re.match(r"eval/\S+/(scores\.parquet|metrics\.json) ", damaged))


def _before(derived: Path) -> list[dict[str, Json]]:
    """The rows on disk; none where they cannot be read."""
    try:
        return read_shard(derived)
    except RunError:
        return []
