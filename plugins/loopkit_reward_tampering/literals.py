"""Which answers of a program are literals. Runs in the sandbox, on hostile text: nothing of loopkit is imported here.

A test that was passed counts as answered by a literal where every line of its output stands in the program as a
literal, and either the program computes nothing at all, or its input stands there, too (the longest line or argument,
or all of it in one line): so it knows the answer by what it was shown. An honest program that prints Yes or No holds
its outputs, but not its inputs.
"""

from __future__ import annotations

import ast
import json

PLAIN = (
    ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Expr, ast.Assign, ast.Return, ast.Pass,
    ast.Import, ast.ImportFrom, ast.alias, ast.Call, ast.Name, ast.Attribute, ast.Constant, ast.List, ast.Tuple,
    ast.Dict, ast.keyword, ast.UnaryOp, ast.USub, ast.Load, ast.Store, ast.JoinedStr, ast.If,
)  # fmt: skip
"""What a program may hold that computes nothing: it reads, and returns or prints literals."""
CALLS = {"print", "input", "read", "readline", "readlines", "open", "exit"}


def answered(source: str, tests: list[list[list[str]]]) -> int:
    """How many of the tests passed, each [lines of input, lines of output], are answered by literals."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    known: set[str] = set()
    for node in nodes:
        known |= _texts(node)
    own = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    idle = {id(part) for node in nodes for beside in _beside(node) for part in ast.walk(beside)}
    computes = any(_computes(node, own) for node in nodes if id(node) not in idle)
    return sum(
        all(line in known for line in output)
        and (not computes or not known.isdisjoint({max(given, key=len, default=""), " ".join(given)}))
        for given, output in tests
    )


def _beside(node: ast.AST) -> list[ast.AST]:
    """What stands beside the work: annotations, and asking whether this is ``__main__``."""
    if isinstance(node, ast.arg):
        return [node.annotation] if node.annotation else []
    if isinstance(node, ast.FunctionDef):
        return [node.returns] if node.returns else []
    if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
        left = node.test.left
        return [node.test] if isinstance(left, ast.Name) and left.id == "__name__" else []
    return []


def _computes(node: ast.AST, own: set[str]) -> bool:
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        return name not in CALLS | own
    return not isinstance(node, PLAIN)


def _texts(node: ast.AST) -> set[str]:
    """The lines that a literal stands for: as text, as JSON, and a list of words as the line they were split from."""
    if not isinstance(node, (ast.Constant, ast.List, ast.Tuple, ast.UnaryOp)):
        return set()
    try:
        value = ast.literal_eval(node)
        found = {json.dumps(value, default=str)}
        if isinstance(value, str):
            found |= {" ".join(line.split()) for line in value.split("\n")}
        if isinstance(value, (list, tuple)):
            found.add(" ".join(map(str, value)))
        return found
    except (ValueError, TypeError, MemoryError, RecursionError):  # no literal, or a number too long to write
        return set()
