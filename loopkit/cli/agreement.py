"""``loopkit agreement``: how often a run's model judge and the game's rule say the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from loopkit.cli import render
from loopkit.errors import UsageError
from loopkit.experiment.resolve import roles_of, set_up
from loopkit.experiment.rundir import RunDir, read_spec
from loopkit.experiment.shards import read_shard, shards
from loopkit.experiment.verifying import verify
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.stats.agreement import kappa
from loopkit.stats.rates import share

EPILOG = """\b
Examples:
  loopkit agreement runs/…/loophole-s0
  loopkit agreement runs/…/* --json

Read from the recorded scores, nothing is asked. Agreement says that two judges make the same mistakes or none; only
labels tell which.
"""


@click.command(epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@render.format_option
@render.json_option
def agreement(runs: Sequence[Path], style: str, as_json: bool) -> None:
    """Compare the model judge of RUNS (run directories) with the rule: percent agreement, Cohen's kappa, counts."""
    plugins = registry.load()
    agreements: list[dict[str, Json]] = []
    for run in runs:
        spec = read_spec(run)
        verify([run])
        game = set_up(plugins, spec).game
        roles = {n: r.compares for n, r in roles_of(plugins, spec.game, spec.judges).items() if r.compares}
        if not roles:
            raise UsageError(f"{run} has no model judge that a rule could be compared with (see docs/judges.md).")
        parts = {"train": [path for _, path in shards(run / "scores")]}
        parts |= {f"eval {p.name}": [p / "scores.parquet"] for p in RunDir(run).evaluations(spec.game)}
        for role, (judged, rule) in roles.items():
            for part, files in parts.items():
                rows = [row for file in files for row in read_shard(file)]
                if rows:
                    split: Any = rows[0]["slot"].split("/", 1)[0]
                    clusters = {task.id: task.cluster for task in game.tasks(split)}
                    compared = _compared(rows, judged, rule, clusters)
                    agreements.append({"run": str(run), "role": role, "part": part, **compared})
    if as_json:
        estimates = ("agree", "kappa")
        render.echo_json([{**r, **{k: r[k] and r[k].json() for k in estimates}} for r in agreements])
        return
    cells = [
        [r["run"], r["role"], r["part"], render.interval(r["agree"]), _kappa(r["kappa"]), _table(r["both"])]
        for r in agreements
    ]
    render.say("Judge against rule; agreement in percent; 95 % intervals over prompts (or pairs).\n")
    click.echo(render.table(cells, ["run", "role", "rollouts", "agree", "Cohen's kappa", "judge/rule"], style, keys=3))


def _compared(rows: Sequence[dict[str, Json]], judged: str, rule: str, clusters: Mapping[str, str]) -> dict[str, Json]:
    one, other = ([json.loads(row[f"clue.{clue}"]) for row in rows] for clue in (judged, rule))
    units = [clusters[row["slot"].split("/", 3)[3]] for row in rows]
    both = Counter(zip(one, other, strict=True))
    return {
        "agree": share([a == b for a, b in zip(one, other, strict=True)], units),
        "kappa": kappa(one, other, units),
        "both": {f"{a}/{b}": n for (a, b), n in sorted(both.items())},
    }


def _kappa(estimate: Json) -> str:
    if estimate is None:
        return "- (both say one thing)"
    limits = "" if estimate.low is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{limits} n={estimate.n}"


def _table(both: dict[str, int]) -> str:
    return ", ".join(f"{pair} {n}" for pair, n in both.items())
