"""A large, seeded population of distinct programs for the soak: functions, ``Solution``s and scripts of several cases.

Each computes something of its own, reads marks that programs could have left to each other, and most leave some. None
reads the clock, addresses or random numbers that are not seeded, so that each gives the same wherever it is run alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from loopkit.sandbox import Program

SCALARS = ("k", "x", "len(a)", "sum(a)", "a[0]", "a[-1]", "max(a)", "min(a)")
LISTS = (
    "a",
    "sorted(a)",
    "a[::-1]",
    "a[1:] + a[:1]",
    "[v * x for v in a]",
    "[v for v in a if v > k]",
    "list(range(k))",
)

MARKS = """
import builtins, json, math, os, string, sys
marks = [hasattr(builtins, "left"), math.pi > 3.2, "LEFT" in os.environ, "left" in sys.modules, len([1, 2, 3]),
         json.dumps([1]), string.digits, sys.getrecursionlimit() > 90_000, math.gcd(12, 18), open.__name__]
"""
LEAVE = (
    "builtins.left = [x] * 9",
    "math.pi = 4",
    "os.environ['LEFT'] = 'x' * 99",
    "sys.modules['left'] = math",
    "builtins.len = lambda value: 0",
    "json.dumps = None",
    "string.digits = 'left'",
    "sys.setrecursionlimit(99_999)",
    "math.gcd = max",
    "open = None",
    "sys.path.append('left')",
    "sys.stdout = None",
    "import threading; threading.Thread(target=int).start()",
)


def _scalar(rng: random.Random, depth: int) -> str:
    """An expression of an int, of ``a`` (a list of ints, never empty), ``k`` (0 to 20) and ``x``."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice((*SCALARS, str(rng.randrange(-99, 100))))
    one, other = _scalar(rng, depth - 1), _scalar(rng, depth - 1)
    forms = (
        f"({one} + {other})",
        f"({one} - {other})",
        f"({one} * {other})",
        f"({one} // (abs({other}) + {rng.randrange(1, 9)}))",
        f"({one} % {rng.randrange(2, 99)})",
        f"({one} if {other} > {rng.randrange(-9, 99)} else {rng.randrange(99)})",
        f"({one} ^ {other})",
        f"sum({_list(rng, depth - 1)})",
        f"(abs({one}) % 50 + 2) ** {rng.randrange(2, 60)}",
        f"int(str({one})[::-1].replace('-', ''))",
    )
    return rng.choice(forms)


def _list(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(LISTS)
    inner = _list(rng, depth - 1)
    forms = (
        f"sorted({inner}, key=lambda v: (v % {rng.randrange(2, 9)}, v))",
        f"[v + {_scalar(rng, 0)} for v in {inner}]",
        f"list(dict.fromkeys({inner}))",
        f"list(map(abs, {inner}))",
        f"({inner})[:{rng.randrange(1, 9)}]",
        f"[v for i, v in enumerate({inner}) if i % {rng.randrange(2, 5)} == 0]",
    )
    return rng.choice(forms)


def _value(rng: random.Random) -> str:
    """An expression of any kind that travels."""
    number, numbers = _scalar(rng, 2), _list(rng, 2)
    forms = (
        number,
        numbers,
        f"tuple({numbers})",
        f"set({numbers})",
        f"{{v: {numbers}.count(v) for v in a}}",
        f"{{'n': {number}, 'all': ({numbers}, None)}}",
        f"({number}) / {rng.randrange(1, 99)}" if "**" not in number else f"[{number}, True]",
        f"''.join(chr(97 + v % 26) for v in {numbers})",
        f"str({number}).encode()",
        f"frozenset(map(str, {numbers}))",
        f"[({number}) > {rng.randrange(99)}, {numbers} or None]",
        f"float({rng.choice(SCALARS)}) * -0.5",
    )
    return rng.choice(forms)


def _function(rng: random.Random, leave: str) -> str:
    body = (
        f"x = {rng.randrange(1, 1000)}\ndef solve(a, k):\n    return [{_value(rng)}, {_value(rng)}, marks]\n{leave}\n"
    )
    return MARKS + body


def _solution(rng: random.Random, leave: str) -> str:
    return (
        f"{MARKS}x = {rng.randrange(1, 1000)}\n{leave}\nclass Solution:\n    def answer(self, a, k):\n"
        f"        total = {_scalar(rng, 2)}\n        return {{'total': total, 'more': {_value(rng)}, 'marks': marks}}\n"
    )


def _generator(rng: random.Random, leave: str) -> str:
    return (
        f"{MARKS}import heapq, collections, itertools\nx = {rng.randrange(1, 1000)}\ndef steps(a, k):\n"
        f"    heap = list(a)\n    heapq.heapify(heap)\n    while heap:\n        v = heapq.heappop(heap)\n"
        f"        yield v * {rng.randrange(2, 99)} % {rng.randrange(100, 9999)}\ndef solve(a, k):\n"
        f"    found = list(itertools.islice(steps(a, k), {rng.randrange(1, 20)}))\n"
        f"    counts = collections.Counter(v % {rng.randrange(2, 9)} for v in found)\n"
        f"    return found, counts, {_value(rng)}, marks\n{leave}\n"
    )


def _script(rng: random.Random, leave: str) -> str:
    read = rng.choice(
        (
            "k = int(input())\na = list(map(int, input().split()))",
            "import sys\nk, *a = map(int, sys.stdin.read().split())",
            "import sys\nk, *a = (int(t) for line in sys.stdin for t in line.split())",
            "k, *a = [int(t) for t in open(0).read().split()]",
        )
    )
    shown = "print(repr({}) if not isinstance({}, (set, frozenset)) else sorted({}))"
    value = "(lambda: " + _value(rng) + ")()"
    lines = (read, f"x = {rng.randrange(1, 1000)}", f"value = {value}", shown.replace("{}", "value"))
    return MARKS + "\n".join((*lines, "print(*a, sep='-')\nprint(marks, flush=True)", leave)) + "\n"


def _shared(rng: random.Random, leave: str) -> str:
    """Its cases share a process, so it leaves nothing."""
    return _script(rng, "pass")


def _fails(rng: random.Random, leave: str) -> str:
    """Raises in its only case, as it would alone."""
    why = rng.choice(("a[len(a)]", "{}[k]", "1 // (k - k)", "int('left')", "undefined", "None + x", "exit(3)"))
    return f"{MARKS}x = {rng.randrange(1, 1000)}\n{leave}\ndef solve(a, k):\n    return [{_scalar(rng, 1)}, {why}]\n"


KINDS: tuple[tuple[Callable[[random.Random, str], str], int], ...] = (
    (_function, 30), (_solution, 20), (_generator, 15), (_script, 15), (_shared, 15), (_fails, 5),
)  # fmt: skip


def program(seed: str, number: int) -> Program:
    """The ``number``-th program of the population of ``seed``: the same each time it is asked for."""
    rng = random.Random(f"{seed}: program {number}")
    make = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    leave = rng.choice(LEAVE) if rng.random() < 0.7 else "pass"
    source = f"# {number}\n{make(rng, leave)}"
    n = 1 if make is _fails else rng.randrange(1, 4)
    given = [([rng.randrange(-99, 1000) for _ in range(rng.randrange(1, 12))], rng.randrange(21)) for _ in range(n)]
    if make in (_script, _shared):
        stdin = [f"{k}\n{' '.join(map(str, a))}\n" for a, k in given]
        return Program(source, stdin, "script", shared=make is _shared)
    return Program(source, given, entry="Solution.answer" if make is _solution else "solve")
