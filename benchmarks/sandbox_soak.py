"""Many programs through one pool: memory and descriptors must stay flat. ``python benchmarks/sandbox_soak.py 100000``.

Nine in ten programs are honest, of both forms; the tenth is hostile, of a kind that ends at once. Every answer is
checked. Prints, as JSON, memory and descriptors of the pool's processes along the way.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator

from loopkit.sandbox import Outcome, Program, Sandbox, same

HOSTILE = (
    "import os\nos._exit(0)",
    "import ctypes\ndef solve(x): return ctypes.string_at(0)",
    "def solve(x): return bytearray(1 << 40)",
    "import os\nos.write(1, b'[' * 100000)\nos._exit(3)",
    "import os\nsolve = lambda x: os.fork()",
    "import json, builtins\njson.dumps = None\nbuiltins.len = None\ndef solve(x): return object()",
    "solve = lambda x: open('/etc/passwd').read()",
)
HEAVY = (
    "def solve(x):\n    a = []\n    while True: a.append(bytearray(1 << 24))",
    "import sys\nclass A:\n    def __repr__(self): return repr(self)\n"
    "def solve(x):\n    sys.setrecursionlimit(10**9)\n    return repr(A())",
    "import threading, time\ndef solve(x):\n    while True: threading.Thread(target=time.sleep, args=(9,)).start()",
)
"""Those that take a while to fail: one program in a thousand."""


def make(n: int) -> Iterator[tuple[Program, object]]:
    """(program, expected answer; None where none may come)."""
    for k in range(n):
        if k % 1000 == 999:
            yield Program(HEAVY[k // 1000 % len(HEAVY)], [[k]]), None
        elif k % 10 == 9:
            yield Program(HOSTILE[k // 10 % len(HOSTILE)], [[k]]), None
        elif k % 2:
            source = "n = int(input())\nprint(sum(i * i for i in range(n % 100)))"
            yield Program(source, [str(k)], form="script"), f"{sum(i * i for i in range(k % 100))}\n"
        else:
            source = f"def solve(x):\n    return [x + {k}, {{'k': (x,)}}, sorted(str(x))]"
            yield Program(source, [[k]]), [2 * k, {"k": (k,)}, sorted(str(k))]


def right(outcome: Outcome, expected: object) -> bool:
    return not outcome.answered if expected is None else outcome.answered and same(expected, outcome.value)


def memory(pid: int) -> int:
    """Resident KiB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def zygote(sandbox: Sandbox) -> int:
    """Host pid of the first worker."""
    with open(f"/proc/self/fdinfo/{sandbox._seats[0].worker.pidfd}", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pid"))


def soak(n: int, mode: str | None, workers: int) -> dict[str, object]:
    """Run ``n`` programs; returns what was measured. Raises AssertionError on a wrong answer."""
    batch = 500
    with Sandbox(mode, workers=workers) as sandbox:
        source, done, wrong, marks = make(n), 0, 0, []
        start, cpu = time.monotonic(), time.process_time()
        while done < n:
            pairs = [pair for _, pair in zip(range(min(batch, n - done)), source, strict=False)]
            found = sandbox.run(program for program, _ in pairs)
            wrong += sum(not right(o, e) for (o,), (_, e) in zip(found, pairs, strict=True))
            done += len(pairs)
            if done % max(batch, n // 10 // batch * batch) == 0 or done == n:
                row = {"programs": done, "zygote_kib": memory(zygote(sandbox)), "parent_kib": memory(os.getpid())}
                row["parent_fds"] = len(os.listdir("/proc/self/fd"))
                marks.append(row)
                print(row, file=sys.stderr, flush=True)
        return {
            "programs": done, "wrong": wrong, "replaced": sandbox.replaced, "marks": marks,
            "described": sandbox.describe(), "workers": workers, "wall_s": round(time.monotonic() - start, 1),
            "parent_cpu_s": round(time.process_time() - cpu, 1),
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
