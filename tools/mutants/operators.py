"""Every mutant of a module: small changes of its syntax tree, written back into its text.

A mutant is named by its function, its operator and the code it changes, so a change elsewhere in the file leaves its
name, and with it the draw, as they were.
"""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
SUMS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
}  # fmt: skip
ALIKE = ("isinstance", "min", "max")  # swapped they say the same, or only TypeError
NUMBERS = ("int", "float", "bool")
UNSEEN = (ast.JoinedStr, ast.Raise)  # the wording of messages; inside of an f-string 3.11 gives no positions


@dataclass(frozen=True)
class Mutant:
    """One change: ``text`` is the whole module with it; ``name`` is the same in every checkout that has this code."""

    module: str
    function: str
    line: int
    operator: str
    before: str
    after: str
    nth: int  # of equal changes in one function
    text: str

    @property
    def name(self) -> str:
        key = "\0".join((self.module, self.function, self.operator, self.before, self.after, str(self.nth)))
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    def diff(self, original: str) -> str:
        lines = difflib.unified_diff(original.splitlines(), self.text.splitlines(), n=0, lineterm="")
        return "\n".join(line for line in list(lines)[2:] if not line.startswith("@@"))


def mutants(source: str, module: str) -> list[Mutant]:
    """All mutants of a module's ``source``."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    raw, seen, out = source.encode(), Counter[tuple[str, ...]](), []
    for function, node, operator, changed in _changes(ast.parse(source)):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        before, after = raw[begin:end].decode(), ast.unparse(changed)
        if isinstance(changed, (ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare)):
            after = f"({after})"
        text = (raw[:begin] + after.encode() + raw[end:]).decode()
        key = (function, operator, before, after)
        seen[key] += 1
        out.append(Mutant(module, function, node.lineno, operator, before, after, seen[key], text))
    return out


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.stmt | ast.expr, str, ast.AST]]:
    """(function, node, operator, what to write in its place)."""
    for function, returns, node in _nodes(tree, "", None):
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            yield function, node.test, "condition", ast.UnaryOp(ast.Not(), node.test)
        for operator, changed in _of(node, returns):
            yield function, node, operator, changed


def _nodes(node: ast.AST, name: str, returns: ast.expr | None) -> Iterator[tuple[str, str, ast.stmt | ast.expr]]:
    """(function, what it returns, node) of all that does something: no annotations, decorators or messages."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, UNSEEN) or _inert(child):
                continue
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                back = None if isinstance(child, ast.ClassDef) else child.returns
                yield from _nodes(child, f"{name}.{child.name}".lstrip("."), back)
                continue
            if isinstance(child, (ast.stmt, ast.expr)):
                yield name or "(module)", ast.unparse(returns) if returns else "", child
            yield from _nodes(child, name, returns)


def _inert(node: ast.AST) -> bool:
    """Docstrings, ``__all__`` and the like, and what only a type checker reads."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("__")


def _of(node: ast.stmt | ast.expr, returns: str) -> Iterator[tuple[str, ast.AST]]:
    """The changes of one node, each with its operator's name."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield "comparison", _with(node, ops=[COMPARISONS[type(node.ops[0])]()])
    elif isinstance(node, ast.Compare):
        yield "comparison", _with(node, ops=[*node.ops[:-1], COMPARISONS[type(node.ops[-1])]()])
    elif isinstance(node, ast.BoolOp):
        yield "and/or", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.BinOp) and type(node.op) in SUMS and not _text(node):
        yield "arithmetic", _with(node, op=SUMS[type(node.op)]())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        for step in (1, -1):
            yield "constant", ast.Constant(node.value + step)
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) not in ("None", "0"):
        value = 0 if returns in NUMBERS else None
        yield "return", _with(node, value=ast.Constant(value))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "dropped call", ast.Pass()
    if isinstance(node, ast.Call) and len(node.args) >= 2 and ast.unparse(node.func) not in ALIKE:
        one, two, *rest = node.args
        if not any(isinstance(a, ast.Starred) for a in (one, two)) and ast.dump(one) != ast.dump(two):
            yield "swapped arguments", _with(node, args=[two, one, *rest])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _text(node: ast.BinOp) -> bool:
    """Joining texts or lists: ``-`` would only be a TypeError."""
    return any(
        isinstance(n, (ast.JoinedStr, ast.List)) or (isinstance(n, ast.Constant) and isinstance(n.value, (str, bytes)))
        for n in (node.left, node.right)
    )
