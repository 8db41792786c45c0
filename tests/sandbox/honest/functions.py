"""Ways to write a function or a ``Solution``, times what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from loopkit.sandbox import Program
from tests.sandbox.honest import Honest

TASKS = {
    # name: (an expression of the list a, the reference)
    "sorted squares": ("sorted(x * x for x in a)", lambda a: sorted(x * x for x in a)),
    "pairs": ("[(a[i], a[i + 1]) for i in range(len(a) - 1)]", lambda a: list(pairwise(a))),
    "counts": ("{x: a.count(x) for x in a}", lambda a: {x: a.count(x) for x in a}),
    "mean": ("sum(a) / len(a) if a else 0.0", lambda a: sum(a) / len(a) if a else 0.0),
}
CASES = ([3, 1, 2], [], [-1, 5, 5, 0])

SHAPES = {
    # every one defines solve(a), or Solution with solve; EXPR is the task
    "plain": "def solve(a):\n    return EXPR",
    "typed": "from typing import List, Optional, Any\ndef solve(a: List[int]) -> Any:\n    b: Optional[int] = None\n    return EXPR",
    "newer types": "def solve(a: list[int]) -> 'list[int] | dict[int, int] | float':\n    '''Documented.'''\n    return EXPR",
    "lambda": "solve = lambda a: EXPR",
    "class": "class Solution:\n    def solve(self, a):\n        return EXPR",
    "class with types": "from typing import *\nclass Solution:\n    def solve(self, a: List[int]) -> Any:\n        return EXPR",
    "class with helpers": "class Solution:\n    memo = {}\n    def __init__(self):\n        self.calls = 0\n    def helper(self, a):\n        self.calls += 1\n"
    "        return EXPR\n    def solve(self, a):\n        return self.helper(a)",
    "static method": "class Solution:\n    @staticmethod\n    def solve(a):\n        return EXPR",
    "class method": "class Solution:\n    @classmethod\n    def solve(cls, a):\n        return EXPR",
    "nested function": "def solve(a):\n    def inner():\n        return EXPR\n    return inner()",
    "nonlocal": "def solve(a):\n    found = None\n    def keep():\n        nonlocal found\n        found = EXPR\n    keep()\n    return found",
    "global": "answer = None\ndef solve(a):\n    global answer\n    answer = EXPR\n    return answer",
    "decorated": "import functools\ndef traced(f):\n    @functools.wraps(f)\n    def g(*args, **kwargs):\n        return f(*args, **kwargs)\n    return g\n\n"
    "@traced\ndef solve(a):\n    return EXPR",
    "checked by annotations": "def typed(f):\n    def g(*args):\n        for v, t in zip(args, f.__annotations__.values()):\n            if not isinstance(v, t):\n"
    "                raise TypeError(t)\n        return f(*args)\n    return g\n\n@typed\ndef solve(a: list):\n    return EXPR",
    "generator": "def items(a):\n    yield from a\n\ndef solve(a):\n    a = list(items(a))\n    return EXPR",
    "dataclass": "from dataclasses import dataclass, field\n@dataclass\nclass Box:\n    a: list = field(default_factory=list)\n    def value(self):\n        a = self.a\n"
    "        return EXPR\n\ndef solve(a):\n    return Box(a).value()",
    "frozen dataclass": "from dataclasses import dataclass\n@dataclass(frozen=True, order=True)\nclass Box:\n    a: tuple\n\ndef solve(a):\n    a = list(Box(tuple(a)).a)\n    return EXPR",
    "named tuple": "from collections import namedtuple\nBox = namedtuple('Box', 'a n')\ndef solve(a):\n    a, n = Box(a, len(a))\n    return EXPR",
    "exec": "space = {}\nexec('def f(a):\\n    return EXPR', space)\nsolve = space['f']",
    "eval": "def solve(a):\n    return eval('EXPR', {'a': a})",
    "compiled": "code = compile('result = EXPR', 'inner', 'exec')\ndef solve(a):\n    space = {'a': a}\n    exec(code, space)\n    return space['result']",
    "prints, too": "import sys\ndef solve(a):\n    print('debug', a, flush=True)\n    print('more', file=sys.stderr)\n    sys.stdout.flush()\n    return EXPR",
    "logs": "import logging\nlogging.basicConfig(level=logging.INFO)\nlog = logging.getLogger(__name__)\ndef solve(a):\n    log.info('given %s', a)\n    return EXPR",
    "main guard": "def solve(a):\n    return EXPR\n\nif __name__ == '__main__':\n    print(solve(list(map(int, input().split()))))",
    "asserts": "def solve(a):\n    assert all(isinstance(x, int) for x in a)\n    return EXPR\n\nassert solve([1]) is not None",
    "try and finally": "def solve(a):\n    try:\n        return EXPR\n    except ZeroDivisionError:\n        return None\n    finally:\n        pass",
    "match": "def solve(a):\n    match a:\n        case []:\n            return EXPR\n        case [_, *_]:\n            return EXPR",
    "walrus": "def solve(a):\n    if (n := len(a)) >= 0:\n        return EXPR",
    "callable object": "class Solver:\n    __slots__ = ('n',)\n    def __call__(self, a):\n        return EXPR\nsolve = Solver()",
    "partial": "from functools import partial\ndef f(extra, a):\n    return EXPR\nsolve = partial(f, None)",
    "with context": "from contextlib import contextmanager\n@contextmanager\ndef opened(a):\n    yield a\n\ndef solve(a):\n    with opened(a) as a:\n        return EXPR",
    "thread": "import threading\ndef solve(a):\n    out = []\n    t = threading.Thread(target=lambda: out.append(EXPR))\n    t.start()\n    t.join()\n    return out[0]",
    "future annotations": "from __future__ import annotations\ndef solve(a: NoSuchName) -> NeitherThis:\n    return EXPR",
    "abstract base": "from abc import ABC, abstractmethod\nclass Base(ABC):\n    @abstractmethod\n    def solve(self, a): ...\nclass Solution(Base):\n    def solve(self, a):\n        return EXPR",
}  # fmt: skip


def programs() -> Iterator[Honest]:
    for shape, text in SHAPES.items():
        for task, (expression, reference) in TASKS.items():
            entry = "Solution.solve" if "class Solution" in text else "solve"
            program = Program(text.replace("EXPR", expression), [[a] for a in CASES], entry=entry)
            yield Honest(f"{shape}: {task}", program, tuple(reference(a) for a in CASES))
