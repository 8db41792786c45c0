"""Programs written for tasks of livecodebench-test.parquet, by problem id: what the sandbox is timed on.

The rows themselves stay where LOOPKIT_DATA says. ``load`` joins the two: scripts as they are, functions as methods of
the class that the row's starter names.
"""

from __future__ import annotations

import ast
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit.sandbox import Outcome, Program, same, same_text

SCRIPTS = {
    "abc340_a": "a, b, d = map(int, input().split())\nprint(*range(a, b + 1, d))",
    "abc309_a": "a, b = map(int, input().split())\nprint('Yes' if b == a + 1 and a % 3 else 'No')",
    "abc302_a": "a, b = map(int, input().split())\nprint(-(-a // b))",
    "abc338_b": """
from collections import Counter
count = Counter(input().strip())
print(min(count, key=lambda c: (-count[c], c)))""",
    "abc324_b": """
n = int(input())
for p in (2, 3):
    while n % p == 0:
        n //= p
print('Yes' if n == 1 else 'No')""",
    "abc363_b": """
import sys
n, t, p, *hair = map(int, sys.stdin.read().split())
hair.sort(reverse=True)
print(max(0, t - hair[p - 1]))""",
    "abc378_c": """
input()
last, found = {}, []
for i, a in enumerate(input().split(), 1):
    found.append(last.get(a, -1))
    last[a] = i
print(*found)""",
    "abc318_a": "n, m, p = map(int, input().split())\nprint(len(range(m, n + 1, p)))",
    "abc321_a": "n = input().strip()\nprint('Yes' if all(a > b for a, b in zip(n, n[1:])) else 'No')",
    "abc374_a": "print('Yes' if input().strip().endswith('san') else 'No')",
    "abc366_a": "n, t, a = map(int, input().split())\nprint('Yes' if 2 * max(t, a) > n else 'No')",
    "abc357_a": """
n, m = map(int, input().split())
done = 0
for h in map(int, input().split()):
    if h > m:
        break
    m -= h
    done += 1
print(done)""",
    "abc310_a": """
n, p, q = map(int, input().split())
print(min(p, q + min(map(int, input().split()))))""",
    "abc380_a": "print('Yes' if ''.join(sorted(input().strip())) == '122333' else 'No')",
    "abc364_a": """
import sys
n, *dishes = sys.stdin.read().split()
print('No' if any(a == b == 'sweet' for a, b in zip(dishes, dishes[1:-1])) else 'Yes')""",
    "abc379_a": "a, b, c = input().strip()\nprint(b + c + a, c + a + b)",
}
FUNCTIONS = {
    "3251": """
def solve(dimensions):
    return max((a * a + b * b, a * b) for a, b in dimensions)[1]""",
    "3644": """
def solve(nums, l, r):
    sums = [0]
    for x in nums:
        sums.append(sums[-1] + x)
    found = [sums[j] - sums[i] for i in range(len(sums)) for j in range(i + l, min(i + r, len(nums)) + 1)]
    return min((s for s in found if s > 0), default=-1)""",
    "2892": """
def solve(nums):
    n = len(nums) - 1
    return sorted(nums) == [*range(1, n + 1), n]""",
    "2847": """
def solve(words):
    seen, pairs = set(), 0
    for word in words:
        pairs += word[::-1] in seen
        seen.add(word)
    return pairs""",
    "3045": """
def solve(nums):
    n = len(nums)
    for shifts in range(n):
        if nums[n - shifts:] + nums[:n - shifts] == sorted(nums):
            return shifts
    return -1""",
    "2824": """
def solve(n):
    return ''.join(sorted(f'{n}{2 * n}{3 * n}')) == '123456789'""",
    "3461": """
def solve(grid):
    cells = [(i, j) for i, row in enumerate(grid) for j, x in enumerate(row) if x]
    rows, columns = zip(*cells)
    return (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)""",
    "2811": """
def solve(n, k):
    taken, x = set(), 1
    while len(taken) < n:
        if k - x not in taken:
            taken.add(x)
        x += 1
    return sum(taken)""",
    "3374": """
def solve(nums):
    total = run = 0
    for i, x in enumerate(nums):
        run = run + 1 if i and nums[i - 1] != x else 1
        total += run
    return total""",
    "3463": """
def solve(colors):
    n = len(colors)
    return sum(colors[i - 1] != colors[i] != colors[(i + 1) % n] for i in range(n))""",
    "2953": """
from collections import Counter

def solve(coordinates, k):
    seen, pairs = Counter(), 0
    for x, y in coordinates:
        pairs += sum(seen[x ^ a, y ^ (k - a)] for a in range(k + 1))
        seen[x, y] += 1
    return pairs""",
    "3081": """
from collections import Counter

def solve(nums):
    n, most = len(nums), max(Counter(nums).values())
    return max(n % 2, 2 * most - n)""",
}


@dataclass(frozen=True)
class Solved:
    """A program, and what its cases should give."""

    id: str
    program: Program
    expected: tuple[Any, ...]

    def right(self, outcomes: tuple[Outcome, ...]) -> bool:
        equal = same_text if self.program.form == "script" else same
        return all(o.answered and equal(e, o.value) for e, o in zip(self.expected, outcomes, strict=True))


def load(folder: str | None = None) -> list[Solved]:
    """The solved tasks of the data in ``folder`` (default: LOOPKIT_DATA). Raises FileNotFoundError without it."""
    import pyarrow.parquet as parquet

    folder = folder or os.environ.get("LOOPKIT_DATA")
    if not folder:
        raise FileNotFoundError("LOOPKIT_DATA is not set: it names the folder of livecodebench-test.parquet")
    found = []
    for row in parquet.read_table(Path(folder) / "livecodebench-test.parquet").to_pylist():
        model = row["reward_model"]
        model = ast.literal_eval(model) if isinstance(model, str) else model
        found += [_solved(model)] if model["problem_id"] in SCRIPTS | FUNCTIONS else []
    return found


def _solved(model: dict[str, Any]) -> Solved:
    name, tests = model["problem_id"], model["test_cases"]
    if name in SCRIPTS:
        cases = [t["input"] for t in tests]
        return Solved(name, Program(SCRIPTS[name], cases, form="script"), tuple(t["output"] for t in tests))
    arguments = [[json.loads(line) for line in t["input"].splitlines()] for t in tests]
    method = re.findall(r"def (\w+)\(self", model["canonical_solution"])[0]
    source = (
        f"{FUNCTIONS[name]}\n\nclass Solution:\n    def {method}(self, *arguments):\n        return solve(*arguments)\n"
    )
    program = Program(source, arguments, entry=f"Solution.{method}")
    return Solved(name, program, tuple(json.loads(t["output"]) for t in tests))
