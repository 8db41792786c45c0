"""``python -m benchmarks``: one command, one table."""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path

import click
from tabulate import tabulate

from benchmarks.measure import Row, machine

PARTS = {"step": 3, "experiment": 1, "sampler": 3, "scale": 1, "report": 5, "real": 5}
"""Each a module with ``rows(rounds)``, and its rounds."""
KEPT = Path(__file__).parent.parent / "docs" / "benchmarks.json"


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="A part; repeatable.  [default: all]")
@click.option("--rounds", type=click.IntRange(1), help="Pairs of measurements.  [default: step 3, sampler 9, else 1]")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.option("--write", is_flag=True, help="Keep the result in docs/benchmarks.json, part by part.")
def main(only: tuple[str, ...], rounds: int | None, as_json: bool, write: bool) -> None:
    """Measure loopkit against TRL and transformers on this machine. All parts take about 15 minutes on 2 idle cores.

    \b
    Examples:
      python -m benchmarks --write
      python -m benchmarks --only step --only sampler
    """
    results = {}
    for name in only or PARTS:
        click.echo(f"{name}: {importlib.import_module(f'benchmarks.{name}').__doc__.splitlines()[0]}", err=True)
        began = time.perf_counter()
        before = machine()
        found: list[Row] = importlib.import_module(f"benchmarks.{name}").rows(rounds or PARTS[name])
        results[name] = {
            "machine": {**before, "load_after": machine()["load"]},
            "seconds": round(time.perf_counter() - began),
            "rows": [row.json() for row in found],
        }
    if write:
        kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        KEPT.write_text(json.dumps({**kept, **results}, indent=2) + "\n")
    click.echo(json.dumps(results, indent=2) if as_json else table(results))


def table(results: dict[str, dict[str, object]]) -> str:
    """One table for all parts, in Markdown, and a line on each part's machine."""
    lines = []
    for found in results.values():
        for r in found["rows"]:  # type: ignore[attr-defined]
            ratio = f"{r['ratio']:.2f}" if "ratio" in r else ""
            if "low" in r:
                ratio += f" ({r['low']:.2f}-{r['high']:.2f})"
            peer = f"{r['peer']:.4g} ({r['peer_name']})" if "peer" in r else ""
            lines.append([r["what"], r["unit"], f"{r['ours']:.4g}", peer, ratio, r.get("aim", ""), r.get("note", "")])
    head = ["what", "unit", "loopkit", "against", "ratio (min-max)", "aim", "note"]
    about = [
        f"{name}: {found['seconds']} s; " + ", ".join(f"{k} {v}" for k, v in found["machine"].items())  # type: ignore[attr-defined]
        for name, found in results.items()
    ]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True) + "\n\n" + "\n".join(about)


if __name__ == "__main__":
    main()
