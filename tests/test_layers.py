"""Imports go down the layers only; the core knows no plugin, plugins do not know each other, torch stays in policy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "tokenizers", "safetensors", "peft"}


def module_name(file: Path, base: Path) -> str:
    parts = file.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


CORE = {module_name(f, ROOT): f for f in sorted((ROOT / "loopkit").rglob("*.py"))}
PLUGINS = {module_name(f, ROOT / "plugins"): f for f in sorted((ROOT / "plugins").rglob("*.py"))}


def imports(source: str, known: set[str]) -> Iterator[tuple[str, bool]]:
    """(module, whether at module level) of every import that is executed: those under TYPE_CHECKING are left out."""

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.orelse:
                yield from visit(child, top)
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports absolutely"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in known else str(node.module)), top
        inner = top and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inner)

    return visit(ast.parse(source), True)


def found(modules: dict[str, Path]) -> Iterator[tuple[str, str, bool]]:
    for name, file in modules.items():
        for target, top in imports(file.read_text(encoding="utf-8"), {*CORE, *PLUGINS}):
            yield name, target, top


def test_import_linter_keeps_the_layers() -> None:
    """The contracts of ``[tool.importlinter]`` in pyproject.toml: imports go down, the core knows no plugin."""
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_layers_see_an_import_inside_a_function() -> None:
    source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    from loopkit.running import runner\n"
    assert list(imports(source, {"loopkit.running.runner"})) == [("b", True), ("loopkit.running.runner", False)]


def test_plugins_use_neither_the_command_line_nor_the_runner() -> None:
    above = {m for m in CORE if m.startswith("loopkit.cli")} | {"loopkit.running.runner", "loopkit.evidence.results"}
    assert not [(n, t) for n, t, _ in found(PLUGINS) if t in above]


@pytest.mark.parametrize("name", sorted(CORE))
def test_torch_is_imported_by_policy_only(name: str) -> None:
    """Elsewhere at most inside a function, and there only in what runs or inspects a policy."""
    heavy = [(t, top) for _, t, top in found({name: CORE[name]}) if t.split(".")[0] in HEAVY]
    if name.startswith("loopkit.policy."):
        return
    assert not [t for t, top in heavy if top]
    if heavy:
        assert name in (
            "loopkit.running.parallel", "loopkit.cli.doctor", "loopkit.cli.warmup",
            "loopkit.elsewhere.trainers",  # it is handed a trainer of TRL's, which has imported them
        )  # fmt: skip


def test_policy_is_imported_lazily() -> None:
    """The command line and the runner reach loopkit.policy inside functions; only ``preload`` imports it outright."""
    top = {n for n, t, top in found(CORE) if top and t.startswith("loopkit.policy") and not n.startswith("loopkit.pol")}
    assert top == {"loopkit.running.preload"}
