"""The sandbox against a fresh ``python -I -S`` for each program, in one run: ``python benchmarks/sandbox.py --json``.

A fresh interpreter runs a function over all its cases, or a script once a case, as the sandbox does. Both check every
answer. Rates are programs a second by wall time; processor time a program (this process and its children, by
rusage and /proc) is what a busy machine does not inflate. Real programs need LOOPKIT_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from sandbox_solutions import Solved, load

from loopkit.sandbox import Program, Sandbox, SandboxError, same_text
from loopkit.sandbox.tiers import interpreter

FUNCTION = """
import sys, json
job = json.load(sys.stdin)
module = {"__name__": "__solution__"}
exec(job["source"], module)
owner, _, name = job["entry"].rpartition(".")
for case in job["cases"]:
    call = getattr(module[owner](), name) if owner else module[name]
    print(json.dumps(call(*case)))
"""
SUM = "n = int(input())\nprint(sum(map(int, input().split())) + n)"
CASES, SUMS = [f"{k}\n1 2 3\n" for k in range(10)], tuple(str(k + 6) for k in range(10))
TRIVIAL = [
    Solved("trivial function", Program("def solve(a, b):\n    return a + b", [[1, 2], [3, 4]]), (3, 7)),
    Solved("trivial script", Program("print(int(input()) * 2)", ["21\n"], form="script"), ("42",)),
    Solved("script, 10 cases", Program(SUM, CASES, form="script"), SUMS),
    Solved("the same, sharing a process", Program(SUM, CASES, form="script", shared=True), SUMS),
]


def fresh(solved: Solved) -> bool:
    """A new interpreter for a program; whether all its answers are right."""
    command, program = [interpreter(), "-I", "-S", "-c"], solved.program
    if program.form == "script":
        return all(
            same_text(e, subprocess.run([*command, program.source], input=c, capture_output=True, text=True).stdout)
            for c, e in zip(program.cases, solved.expected, strict=True)
        )
    job = json.dumps({"source": program.source, "entry": program.entry, "cases": program.cases})
    done = subprocess.run([*command, FUNCTION], input=job, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()] == list(solved.expected)


def timed(run: Callable[[], int], cpu: Callable[[], float]) -> dict[str, float]:
    """Programs a second, and processor milliseconds a program."""
    before, start = cpu(), time.monotonic()
    n = run()
    wall, used = time.monotonic() - start, cpu() - before
    return {"n": n, "programs_a_second": round(n / wall, 1), "cpu_ms": round(1000 * used / n, 2)}


def _own() -> float:
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def _of(sandbox: Sandbox) -> float:
    """This process, and of each worker the keeper with the children it has waited for, and the zygote."""
    total = time.process_time()
    for seat in sandbox._seats:
        with open(f"/proc/self/fdinfo/{seat.worker.pidfd}", encoding="utf-8") as file:
            keeper = next(int(line.split()[1]) for line in file if line.startswith("Pid"))
        with open(f"/proc/{keeper}/task/{keeper}/children", encoding="utf-8") as file:
            zygote = min(map(int, file.read().split()))
        for pid in (keeper, zygote):
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                ticks = file.read().rsplit(")", 1)[1].split()[11:15]
            total += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return total


def compare(solved: Sequence[Solved], mode: str, workers: Sequence[int], rounds: int, times: int) -> dict[str, Any]:
    """Fresh and pooled by turns, ``rounds`` times; medians, and the ratios within each round."""
    rows: dict[str, list[dict[str, float]]] = {"fresh": []}
    pools = {k: Sandbox(mode, workers=k) for k in workers}
    wrong: set[str] = set()

    def run_fresh() -> int:
        wrong.update(f"fresh {s.id}" for s in solved if not fresh(s))
        return len(solved)

    def run_pool(sandbox: Sandbox) -> int:
        batch = [s for _ in range(times) for s in solved]
        found = sandbox.run(s.program for s in batch)
        wrong.update(f"sandbox {s.id}" for s, o in zip(batch, found, strict=True) if not s.right(o))
        return len(batch)

    try:
        for _ in range(rounds):
            rows["fresh"].append(timed(run_fresh, _own))
            for k, sandbox in pools.items():
                key = f"{k} worker" + ("s" if k > 1 else "")
                rows.setdefault(key, []).append(timed(lambda s=sandbox: run_pool(s), lambda s=sandbox: _of(s)))
    finally:
        for sandbox in pools.values():
            sandbox.close()
    out: dict[str, Any] = {"programs": len(solved), "wrong": sorted(wrong)}
    for key, found in rows.items():
        out[key] = {k: statistics.median(r[k] for r in found) for k in ("programs_a_second", "cpu_ms")}
        if key != "fresh":
            pairs = list(zip(found, rows["fresh"], strict=True))
            out[key]["times_faster"] = round(
                statistics.median(a["programs_a_second"] / b["programs_a_second"] for a, b in pairs), 1
            )
            out[key]["times_less_cpu"] = round(statistics.median(b["cpu_ms"] / a["cpu_ms"] for a, b in pairs), 1)
    return out


def start_up(mode: str, rounds: int) -> dict[str, float]:
    """Median seconds of a new sandbox with its self-attack, one worker: wall, and processor of all involved."""
    walls, cpus = [], []
    for _ in range(rounds):
        before, start = _own(), time.monotonic()
        sandbox = Sandbox(mode, workers=1)
        walls.append(time.monotonic() - start)
        sandbox.close()
        cpus.append(_own() - before)
    return {"wall_s": round(statistics.median(walls), 3), "fastest_wall_s": round(min(walls), 3),
            "cpu_s": round(statistics.median(cpus), 3), "n": rounds}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=10, help="how often a pool runs each program a round")
    parser.add_argument("--each", type=int, default=20, help="programs of a trivial set a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sets = {s.id: [s] * options.each for s in TRIVIAL}
    try:
        real = load()
    except FileNotFoundError as error:
        print(f"real programs are left out: {error}", file=sys.stderr)
    else:
        sets |= {"real functions": [s for s in real if s.program.form == "function"],
                 "real scripts": [s for s in real if s.program.form == "script"]}  # fmt: skip
    found: dict[str, Any] = {"load_average": os.getloadavg()[0], "cores": os.cpu_count()}
    for mode in ("bubblewrap", "seccomp"):
        try:
            found[mode] = {"start_up": start_up(mode, 9)}
        except SandboxError as error:
            print(f"{mode} is left out: {error}", file=sys.stderr)
            continue
        for name, solved in sets.items():
            found[mode][name] = compare(solved, mode, options.workers, options.rounds, options.times)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"load average {found['load_average']:.1f} on {found['cores']} cores")
    for mode in ("bubblewrap", "seccomp"):
        if mode not in found:
            continue
        print(f"\n{mode}: start-up {found[mode]['start_up']}")
        for name in sets:
            print(f"  {name} ({found[mode][name]['programs']} programs, wrong: {found[mode][name]['wrong'] or 'none'})")
            for key, row in found[mode][name].items():
                if isinstance(row, dict):
                    print(f"    {key:10}", row)


if __name__ == "__main__":
    main()
