"""The process that a probed reward runs in: it imports the reward, is asked over a pipe, and may die or hang.

Requests come pickled from the parent; answers are JSON, since what a user's code returns is not to be unpickled. What
the code prints goes to a log file, which is this process's standard output and error.
"""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import random
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from loopkit.errors import LoopkitError, UsageError
from loopkit.registry.contain import describe
from loopkit.rewards import libraries, source
from loopkit.rewards.columns import Row
from loopkit.rewards.reward import Reward, parts, where
from loopkit.rewards.signatures import Table
from loopkit.system.processes import die_with_parent

SIZE = struct.Struct(">Q")
DAY = 86_400.0
LONGEST = 60
"""Characters of a text in the code that is worth saying to it."""


class Child:
    """``rewards``: by "reward" and "trusted", once loaded."""

    def __init__(self) -> None:
        self.rows: Sequence[Row] = ()
        self.rewards: dict[str, Reward] = {}

    def load(self, which: str, spec: str, table: Table, rows: Sequence[Row], chat: bool | None) -> dict[str, Any]:
        """Import a reward for these rows. -> its kinds and notes, and texts that stand in its code."""
        if rows:
            self.rows = rows
        made = libraries.own(spec, table, chat)
        self.rewards[which] = made
        return {
            "kinds": sorted({p.calling.kind for p in made.parts}),
            "notes": [note for p in made.parts for note in p.calling.notes],
            "literals": literals(spec),
        }

    def pay(self, which: str, numbers: Sequence[int], said: Sequence[str], alone: bool) -> dict[str, Any]:
        """(B,) row numbers and replies -> (B,) pays, None where not scored, and what each that failed raised.

        ``alone``: each in a call of its own. Where a whole batch raises, each is asked alone, too.
        """
        made, raised = self.rewards[which], dict[int, str]()
        rows = [self.rows[n] for n in numbers]
        if not alone:
            try:
                return {"pays": made.scores(rows, said, numbers), "raised": {}}
            except Exception as error:
                if len(rows) == 1:
                    return {"pays": [None], "raised": {0: where(error)}}
        pays = list[float | None]()
        for k, (row, text, number) in enumerate(zip(rows, said, numbers, strict=True)):
            try:
                pays += made.scores([row], [text], [number])
            except Exception as error:
                pays.append(None)
                raised[k] = where(error)
        return {"pays": pays, "raised": raised}

    def disturb(self) -> dict[str, Any]:
        """Another day and other luck, to see whether a reward depends on them."""
        real = time.time
        time.time = lambda: real() + DAY
        random.seed(987_654_321)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(98_765)
        return {}

    def own_rows(self, spec: str) -> dict[str, Any]:
        """The rows of a reward that brings its own."""
        return {"rows": libraries.rows(spec)}


def literals(spec: str) -> list[str]:
    """Short texts in the code that ``spec`` names, without docstrings, in order."""
    seen = dict[str, None]()
    for _, named in parts(spec):
        try:
            target = source.load(named)
            for one in target if isinstance(target, (list, tuple)) else [target]:
                code: Any = getattr(one, "func", one)  # of a partial, what it calls
                module = inspect.getmodule(inspect.unwrap(code))
                trees = [ast.parse(inspect.getsource(module))] if module else []
                seen |= dict.fromkeys(t for tree in trees for t in _texts(tree))
        except (OSError, TypeError, SyntaxError, LoopkitError):
            continue  # code without a source has no texts to offer
    return list(seen)


def _texts(tree: ast.Module) -> list[str]:
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))
        and node.body and isinstance(node.body[0], ast.Expr)
    }  # fmt: skip
    values = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs)
    return [v for v in values if isinstance(v, str) and v.strip() and len(v) <= 4 * LONGEST]


def main() -> None:
    """Serve requests on the pipe whose ends are the two arguments, until it closes."""
    die_with_parent()
    with open(int(sys.argv[1]), "rb") as asked, open(int(sys.argv[2]), "wb") as answered:
        child = Child()
        while (request := _read(asked)) is not None:
            answer = _answer(child, *request)
            body = json.dumps(answer).encode()
            answered.write(SIZE.pack(len(body)) + body)
            answered.flush()


def _read(pipe: BinaryIO) -> tuple[str, dict[str, Any]] | None:
    head = pipe.read(SIZE.size)
    if len(head) < SIZE.size:
        return None
    request: tuple[str, dict[str, Any]] = pickle.loads(pipe.read(SIZE.unpack(head)[0]))
    return request


def _answer(child: Child, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = getattr(child, verb)(**given)
        return answer
    except UsageError as error:
        return {"usage": str(error)}
    except BaseException as error:
        return {"error": describe(error)}


if __name__ == "__main__":
    main()
