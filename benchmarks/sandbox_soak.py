"""Many programs through one pool, every answer compared: ``python benchmarks/sandbox_soak.py 100000``.

Nine in ten programs are right ones, and one of those nine is of the honest corpus (tests/sandbox/honest); the tenth is
hostile. What each honest one gives when it is run alone, in a plain Python, is asked once a program and compared with
every answer that it gives among the others. Memory and descriptors of the pool's processes must stay flat. Prints JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loopkit.sandbox import Limits, Outcome, Program, Sandbox, same, same_text
from tests.sandbox import attacks, honest
from tests.sandbox.honest.judge import alone

QUICK = (
    "import os\nos._exit(0)",
    "import ctypes\ndef solve(x): return ctypes.string_at(0)",
    "def solve(x): return bytearray(1 << 40)",
    "import os\nos.write(1, b'[' * 100000)\nos._exit(3)",
    "import os\nsolve = lambda x: os.fork()",
    "import json, builtins\njson.dumps = None\nbuiltins.len = None\ndef solve(x): raise ValueError",
    "solve = lambda x: open('/etc/passwd').read()",
    "import os\ndef solve(x):\n    for fd in (2, 3): os.write(fd, b'WORDS' * 99)\n    os._exit(71)",
)
"""Hostile programs that end at once: none of them may answer. One in a hundred is one of the attacks instead."""


@functools.cache
def expected(name: str) -> tuple[Outcome, ...]:
    """What a program of the corpus gives alone. Raises AssertionError where that is not right either."""
    one = next(c for c in honest.corpus() if c.name == name)
    outcomes = alone(one.program)
    assert one.right(outcomes), f"{name}: wrong without a sandbox: {outcomes}"
    return outcomes


def make(n: int) -> Iterator[tuple[Program, object]]:
    """(program, what it gives: a tuple of outcomes of a corpus program, a value, or None where no answer may come)."""
    corpus, hostile = honest.corpus(), list(attacks.programs().values())
    for k in range(n):
        if k % 100 == 99:
            yield hostile[k // 100 % len(hostile)], "an attack"
        elif k % 10 == 9:
            yield Program(QUICK[k // 10 % len(QUICK)], [[k]]), None
        elif k % 10 == 4:
            one = corpus[k // 10 % len(corpus)]
            yield one.program, expected(one.name)
        elif k % 2:
            source = "n = int(input())\nprint(sum(i * i for i in range(n % 100)))"
            yield Program(source, [str(k)], form="script"), f"{sum(i * i for i in range(k % 100))}\n"
        else:
            source = f"def solve(x):\n    return [x + {k}, {{'k': (x,)}}, sorted(str(x))]"
            yield Program(source, [[k]]), [2 * k, {"k": (k,)}, sorted(str(k))]


def right(outcomes: tuple[Outcome, ...], wanted: object) -> bool:
    if wanted == "an attack":
        return not attacks.through(outcomes)
    if wanted is None:
        return not any(o.answered for o in outcomes)
    if isinstance(wanted, tuple):
        equal = (same_text if w.kind == "printed" else same for w in wanted)
        return all(o.kind == w.kind and e(w.value, o.value) for e, w, o in zip(equal, wanted, outcomes, strict=True))
    return outcomes[0].answered and same(wanted, outcomes[0].value)


def account(pid: int) -> dict[str, int]:
    """Resident KiB and open descriptors of a process."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return {"kib": kib, "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


def processes(sandbox: Sandbox) -> dict[str, int]:
    """Keeper and zygote of the first worker, by this machine's numbers."""
    with open(f"/proc/self/fdinfo/{sandbox._seats[0].worker.pidfd}", encoding="utf-8") as file:
        keeper = next(int(line.split()[1]) for line in file if line.startswith("Pid"))
    with open(f"/proc/{keeper}/task/{keeper}/children", encoding="utf-8") as file:
        return {"keeper": keeper, "zygote": min(map(int, file.read().split())), "parent": os.getpid()}


def soak(n: int, mode: str | None, workers: int) -> dict[str, object]:
    """Run ``n`` programs; returns what was measured."""
    batch = min(500, max(50, n // 20))
    wrong: list[str] = []
    with Sandbox(mode, workers=workers, limits=Limits(cpu=1.0)) as sandbox:
        source, done, marks = make(n), 0, []
        start, cpu = time.monotonic(), time.process_time()
        while done < n:
            pairs = [pair for _, pair in zip(range(min(batch, n - done)), source, strict=False)]
            found = sandbox.run(program for program, _ in pairs)
            answers = zip(found, pairs, strict=True)
            wrong += [f"{p.source[:200]!r}: {o!r}"[:600] for o, (p, wanted) in answers if not right(o, wanted)]
            done += len(pairs)
            if done % max(batch, n // 10 // batch * batch) == 0 or done == n:
                row = {name: account(pid) for name, pid in processes(sandbox).items()}
                marks.append({"programs": done, **row})
                print(marks[-1], file=sys.stderr, flush=True)
        return {
            "programs": done, "wrong": wrong, "replaced": sandbox.replaced, "marks": marks,
            "described": sandbox.describe(), "workers": workers, "wall_s": round(time.monotonic() - start, 1),
            "parent_cpu_s": round(time.process_time() - cpu, 1), "load": os.getloadavg()[0],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=int, nargs="?", default=100_000)
    parser.add_argument("--sandbox", default=None)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(soak(options.programs, options.sandbox, options.workers), indent=1))


if __name__ == "__main__":
    main()
