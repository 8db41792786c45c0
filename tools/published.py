"""Published tables from raw records: ``python -m tools.published`` holds pages to them, ``--write`` mends pages.

A record is ``results/NAME.json``: an experiment's results.json and how it came about. A page shows it after the line
``<!-- results/NAME.json -->``: the next block is what ``loopkit run`` prints of it, up to the first line that is
``until`` (null: all of it). ``--add NAME DIRECTORY --command "loopkit run ..."`` keeps the record of a finished one, or
of the seeds that are finished in one that goes on (then "missing_seeds" names the others).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from loopkit.errors import UsageError
from loopkit.evidence.results import collect
from loopkit.evidence.schema import ExperimentResults, parse
from loopkit.experiment.config import BASE, parse_seeds, read_experiment
from loopkit.experiment.manifest import read_manifest
from loopkit.experiment.registration import stamp
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import read_spec
from loopkit.front.outcome import Result
from loopkit.front.reading import finished_results
from loopkit.registry import plugins as registry
from loopkit.running.runner import check, finished

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results"
UNTIL = "tiny is a very small model"
"""Where a page's block ends, unless its record says otherwise: what follows is said of every experiment on tiny."""
SHOWN = re.compile(r"(<!-- (results/[\w.-]+\.json) -->\n+```text\n)(.*?)(\n```)", re.S)


def record(directory: Path, command: str) -> dict[str, object]:
    """What is kept of a finished experiment."""
    missing: list[int] = []
    if (directory / "results.json").exists():
        results = finished_results(directory)
    else:
        results, missing = so_far(directory)
    manifests = [read_manifest(path) for path in results.directories(directory)]
    return {
        "command": command,
        "seeds": list(results.seeds),
        **({"missing_seeds": missing} if missing else {}),
        "registration": results.registration,
        "commits": sorted({str(m.get("git")) for m in manifests}),
        "loopkit": sorted({str(m.get("loopkit")) for m in manifests}),
        "kept": datetime.now(UTC).strftime("%Y-%m-%d"),
        "results": results.model_dump(mode="json"),
    }


def so_far(directory: Path) -> tuple[ExperimentResults, list[int]]:
    """The results of an experiment's finished seeds, and its other seeds."""
    experiment = read_experiment(directory / "experiment.toml", settings={})
    begun = [read_spec(path.parent) for path in sorted(directory.glob("*/run.toml"))]
    done = Counter(s.seed for s in begun if finished(s, directory))
    arms = [BASE, *experiment.arms]
    seeds = [seed for seed in parse_seeds(experiment.seeds) if done[seed] == len(arms)]
    whole = [s for arm in arms for seed in seeds for s in begun if (s.arm, s.seed) == (arm, seed)]
    if not whole:
        raise UsageError(f"no seed of {directory} is finished yet.")
    setup = set_up(registry.load(), whole[0])
    results = collect(whole, directory, setup, check(whole[0], setup, directory), experiment.verdict)
    stamped = stamp(directory, experiment.model_dump(mode="json"), whole)
    return results.model_copy(update={"registration": stamped}), sorted({*parse_seeds(experiment.seeds)} - {*seeds})


def printed(name: str) -> str:
    """The block of a page, from its record."""
    kept = json.loads((ROOT / name).read_text(encoding="utf-8"))
    out = re.search(r"--out (\S+)", kept["command"])
    results = parse(kept["results"])
    assert isinstance(results, ExperimentResults)
    result = Result(Path(out[1] if out else "runs"), results)
    lines = result.text().splitlines()
    until = kept.get("until", UNTIL)
    end = len(lines) if until is None else next((i for i, x in enumerate(lines) if x.startswith(until)), len(lines))
    return "\n".join(lines[:end]).rstrip()


def pages() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def rebuilt(text: str) -> str:
    """A page with every block of a record made again."""
    return SHOWN.sub(lambda m: m[1] + printed(m[2]) + m[4], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="mend the pages")
    parser.add_argument("--add", nargs=2, metavar=("NAME", "DIRECTORY"), help="keep a finished experiment's record")
    parser.add_argument("--command", default="", help="with --add: what was run")
    options = parser.parse_args()
    if options.add:
        name, directory = options.add
        RECORDS.mkdir(exist_ok=True)
        text = json.dumps(record(Path(directory), options.command), indent=1, sort_keys=True, allow_nan=False)
        (RECORDS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        return
    stale = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (again := rebuilt(text)) != text:
            stale.append(page.relative_to(ROOT).as_posix())
            if options.write:
                page.write_text(again, encoding="utf-8")
    if stale and not options.write:
        print(f"Not as their records say: {', '.join(stale)}. Mend them with: python -m tools.published --write")
        sys.exit(1)
    print(f"{', '.join(stale) or 'nothing'} rewritten" if options.write else "Every table is as its record says.")


if __name__ == "__main__":
    main()
