"""``python -m tools.mutants``: the same mutants every time, the tests that should notice, and which were not noticed.

Examples:
  python -m tools.mutants --list
  python -m tools.mutants -j 2 --json docs/mutants.json
  python -m tools.mutants --only stats/rates --count 40
  python -m tools.mutants --json after.json --against docs/mutants.json
  python -m tools.mutants --json docs/mutants.json --page docs/mutants.md
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.mutants.operators import Mutant, mutants
from tools.mutants.running import Job, copy_checkout, preload, start
from tools.mutants.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
Record = dict[str, object]
SEED = "1"
LEAST = 20.0  # CPU seconds that a mutant may take in any case


def draw(module: str, count: int, seed: str) -> list[Mutant]:
    """The first ``count`` of a module's mutants in an order that only the seed and their own code decide."""
    every = mutants((ROOT / module).read_text(), module)
    every.sort(key=lambda m: hashlib.sha256(f"{seed}/{m.name}".encode()).digest())
    return sorted(every[:count], key=lambda m: (m.line, m.name))


@dataclass
class Work:
    """A mutant on its way: first the fast tests, then the slow ones on what is left."""

    mutant: Mutant | None
    module: str
    target: Target
    slow: bool = False
    cpu: float = 0.0
    outcome: str = ""
    by: str = ""


class Pool:
    """``jobs`` copies of the checkout, one mutant in each at a time."""

    def __init__(self, jobs: int, folder: Path) -> None:
        self.free = [folder / f"copy{n}" for n in range(jobs)]
        for copy in self.free:
            copy_checkout(ROOT, copy)
        self.busy: list[tuple[Work, Path, Job]] = []

    def put(self, work: Work, limit: float) -> None:
        copy = self.free.pop()
        if work.mutant:
            write(copy / work.module, work.mutant.text)
        tests = work.target.slow if work.slow else work.target.tests
        self.busy.append((work, copy, start(copy, tests, work.slow, limit, copy.with_suffix(".log"))))

    def take(self) -> Work:
        """Waits for one to end, and puts the original back."""
        while True:
            for entry in self.busy:
                work, copy, job = entry
                if ended := job.poll():
                    self.busy.remove(entry)
                    self.free.append(copy)
                    write(copy / work.module, (ROOT / work.module).read_text())
                    work.outcome, cpu = ended
                    work.cpu += cpu
                    work.by = job.culprit() if work.outcome in ("killed", "error") else ""
                    if work.outcome == "error" or (work.mutant is None and work.outcome != "survived"):
                        sys.exit(f"{work.module}: its tests do not pass as they are:\n{job.log.read_text()[-3000:]}")
                    return work
            time.sleep(0.02)


def write(path: Path, text: str) -> None:
    path.write_text(text)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()  # mutants within one second have one time of change


def run(chosen: dict[str, list[Mutant]], jobs: int, slow: bool, keep: Callable[[Record], None]) -> None:
    """``keep`` is given every mutant's record as it ends; tells on standard error how it goes."""
    done = 0
    limits: dict[tuple[str, bool], float] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        pool = Pool(jobs, Path(folder).resolve())
        waiting = [Work(None, module, TARGETS[module]) for module in chosen]
        total = sum(map(len, chosen.values()))
        while waiting or pool.busy:
            if waiting and pool.free:
                work = waiting.pop(0)
                pool.put(work, limits.get((work.module, work.slow), 900.0))
                continue
            work = pool.take()
            if work.mutant is None:  # the tests as they are: what they take is the limit
                limits[work.module, work.slow] = LEAST + 4 * work.cpu
                again = [Work(m, work.module, work.target) for m in chosen[work.module]]
                waiting[:0] = again
                print(f"{work.module}: tests take {work.cpu:.1f} CPU s, {len(again)} mutants", file=sys.stderr)
            elif slow and work.outcome == "survived" and work.target.slow and not work.slow:
                work.slow = True
                waiting.append(work)
            else:
                done += 1
                keep(record(work, work.mutant))
                words = f"[{done}/{total}] {work.outcome} {work.module}:{work.mutant.line} {work.cpu:.1f} s"
                print(words, work.by, file=sys.stderr, flush=True)


def record(work: Work, m: Mutant) -> Record:
    return {
        "name": m.name, "module": m.module, "function": m.function, "line": m.line, "operator": m.operator,
        "outcome": work.outcome, "by": work.by, "cpu_seconds": round(work.cpu, 1),
        "diff": m.diff((ROOT / m.module).read_text()),
    }  # fmt: skip


def table(records: list[Record]) -> str:
    lines = ["| module | mutants | killed | timeout | survived |", "|---|---|---|---|---|"]
    for module in [*dict.fromkeys(str(r["module"]) for r in records), "all"]:
        n = Counter(r["outcome"] for r in records if module in ("all", r["module"]))
        lines.append(f"| {module} | {n.total()} | {n['killed']} | {n['timeout']} | {n['survived']} |")
    return "\n".join(lines)


def page(kept: dict[str, Any]) -> str:
    """docs/mutants.md: the table, and every survivor."""
    records = kept["mutants"]
    lines = [
        "# Mutants", "",
        "Faults put into the code one at a time, and whether a test noticed: `python -m tools.mutants`.",
        "The same are drawn every time, by a hash of their own code.",
        "`tools/mutants/targets.py` says how many of which module, and which tests have to notice.",
        f"Here: {len(records)} mutants, draw {kept['seed']}, of commit `{kept['commit']}`.", "",
        table(records), "",
        "A survivor is a missing test, or a change that changes nothing: a bound that is never met, say.",
        "Line, function, operator, then what was there and what stood in its place:", "",
    ]  # fmt: skip
    for r in records:
        if r["outcome"] == "survived":
            sides = [" ".join(x[1:].split()) for x in (r["diff"].splitlines() or ["", ""])]
            half = len([x for x in r["diff"].splitlines() if x.startswith("-")])
            before, after = (" ".join(part).replace("`", "'") for part in (sides[:half], sides[half:]))
            lines.append(f"- {r['module']}:{r['line']}, {r['function']}, {r['operator']}: `{before}` → `{after}`")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1, help="mutants at once")
    parser.add_argument("--only", action="append", help="modules whose path holds this (may be repeated)")
    parser.add_argument("--count", type=int, help="mutants a module, instead of the table's number")
    parser.add_argument("--seed", default=SEED, help="draws others")
    parser.add_argument(
        "--slow", action="store_true", help="try survivors on the table's slow tests too (minutes each)"
    )
    parser.add_argument("--list", action="store_true", help="show the mutants and run none")
    parser.add_argument(
        "--json", type=Path, help="write every mutant's outcome here; goes on with a file that is there"
    )
    parser.add_argument("--page", type=Path, help="write a page of what --json holds, and run none")
    parser.add_argument("--against", type=Path, help="fail if one survives that was killed in this file")
    given = parser.parse_args()

    if given.page:
        given.page.write_text(page(json.loads(given.json.read_text())), encoding="utf-8")
        return 0
    wanted = [m for m in TARGETS if not given.only or any(part in m for part in given.only)]
    gone = sorted({t for m in wanted for t in (*TARGETS[m].tests, *TARGETS[m].slow, m) if not (ROOT / t).exists()})
    if gone or not wanted:
        parser.error(f"not there: {', '.join(gone) or given.only}; mend tools/mutants/targets.py")
    chosen = {m: draw(m, given.count or TARGETS[m].count, given.seed) for m in wanted}
    if given.list:
        for module, drawn in chosen.items():
            for m in drawn:
                print(f"{module}:{m.line} {m.operator}, {m.function}\n{m.diff((ROOT / module).read_text())}")
        print(f"{sum(map(len, chosen.values()))} mutants of {len(chosen)} modules")
        return 0
    order = [m.name for drawn in chosen.values() for m in drawn]
    kept: dict[str, Record] = {}
    if given.json and given.json.exists():  # what is there is not asked again: an interrupted run goes on
        kept = {r["name"]: r for r in json.loads(given.json.read_text())["mutants"]}
    chosen = {module: [m for m in drawn if m.name not in kept] for module, drawn in chosen.items()}
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)

    def keep(one: Record) -> None:
        kept[str(one["name"])] = one
        if given.json:
            given.json.parent.mkdir(parents=True, exist_ok=True)
            found = sorted(kept.values(), key=lambda r: (r["module"], r["line"], r["name"]))
            text = json.dumps({"commit": commit.stdout.strip(), "seed": given.seed, "mutants": found}, indent=1)
            given.json.write_text(text + "\n")

    preload()
    run({module: drawn for module, drawn in chosen.items() if drawn}, given.j, given.slow, keep)
    records = [kept[name] for name in order]
    survivors = [r for r in records if r["outcome"] == "survived"]
    for r in survivors:
        print(f"survived: {r['module']}:{r['line']} {r['operator']}, {r['function']}\n{r['diff']}")
    print(table(records))
    if given.against:
        before = {r["name"] for r in json.loads(given.against.read_text())["mutants"] if r["outcome"] != "survived"}
        lost = [r for r in survivors if r["name"] in before]
        for r in lost:
            print(f"no longer noticed: {r['module']}:{r['line']} {r['operator']}, {r['function']}")
        return 1 if lost else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
