"""Imports go down the layers only; the core knows no plugin, plugins do not know each other, torch stays in policy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "tokenizers", "safetensors", "peft"}

LAYERS: list[set[str]] = [
    # from the bottom; a module imports from its own layer and those above it in this list
    {"loopkit.errors", "loopkit.seeding", "loopkit.contain", "loopkit.processes"},
    {"loopkit.records"},
    {
        "loopkit.notices", "loopkit.files",
        "loopkit.sandbox", "loopkit.sandbox.answers", "loopkit.sandbox.headers", "loopkit.sandbox.pool",
        "loopkit.sandbox.programs", "loopkit.sandbox.selftest", "loopkit.sandbox.process", "loopkit.sandbox.store",
        "loopkit.sandbox.tiers", "loopkit.sandbox.worker", "loopkit.sandbox.inside", "loopkit.sandbox.inside.child",
        "loopkit.sandbox.inside.codec", "loopkit.sandbox.inside.importer", "loopkit.sandbox.inside.kernel",
        "loopkit.sandbox.inside.probes", "loopkit.sandbox.inside.syscalls", "loopkit.sandbox.inside.zygote",
    },
    {"loopkit.contracts", "loopkit.hookspecs"},
    {"loopkit.channels", "loopkit.detectors", "loopkit.data", "loopkit.gym", "loopkit.judges"},
    {
        "loopkit.stats", "loopkit.stats.rates", "loopkit.stats.seeds", "loopkit.stats.onset", "loopkit.stats.verdict",
        "loopkit.stats.agreement", "loopkit.stats.contrasts", "loopkit.stats.dose", "loopkit.stats.means",
        "loopkit.stats.mitigation", "loopkit.stats.monitors", "loopkit.stats.persistence", "loopkit.stats.shortcut",
        "loopkit.stats.times",
    },
    {"loopkit.scoring", "loopkit.generic"},
    {"loopkit.metrics", "loopkit.installed", "loopkit.plugins"},
    {"loopkit.config"},
    {"loopkit.resolve"},
    {"loopkit.referee", "loopkit.rundir", "loopkit.manifest"},
    {
        "loopkit.playing", "loopkit.recorded",
        "loopkit.serving", "loopkit.serving.client", "loopkit.serving.server", "loopkit.serving.wire",
    },
    {
        "loopkit.audit", "loopkit.audit.files", "loopkit.audit.formats", "loopkit.audit.findings",
        "loopkit.audit.games", "loopkit.audit.parts",
        "loopkit.export", "loopkit.export.bridge", "loopkit.export.write",
    },
    {
        "loopkit.checks", "loopkit.checks.report", "loopkit.checks.specimens", "loopkit.checks.declared",
        "loopkit.checks.economics", "loopkit.checks.fresh", "loopkit.checks.games", "loopkit.checks.purity",
        "loopkit.checks.quality", "loopkit.checks.spy", "loopkit.checks.trainers",
    },
    {
        "loopkit.policy", "loopkit.policy.decode", "loopkit.policy.load", "loopkit.policy.memory",
        "loopkit.policy.save", "loopkit.policy.score", "loopkit.policy.supervised", "loopkit.policy.tokenizer",
        "loopkit.policy.warmup", "loopkit.policy.tiny", "loopkit.policy.plugin", "loopkit.policy.trained",
        "loopkit.policy.conditions", "loopkit.policy.endpoint",
        "loopkit.policy.forward", "loopkit.policy.optimizer", "loopkit.policy.process",
    },
    {"loopkit.runner", "loopkit.parallel"},
    {"loopkit.results", "loopkit.examples", "loopkit.preload"},
    {
        "loopkit.studies", "loopkit.studies.schema", "loopkit.studies.write", "loopkit.studies.grid",
        "loopkit.studies.comparable", "loopkit.studies.cells", "loopkit.studies.study", "loopkit.studies.monitors",
        "loopkit.studies.paper", "loopkit.studies.transfer", "loopkit.studies.catalysis",
        "loopkit.studies.propagation", "loopkit.studies.persistence", "loopkit.studies.dose",
        "loopkit.studies.algorithms", "loopkit.studies.conditions", "loopkit.studies.mitigations",
        "loopkit.report", "loopkit.report.charts", "loopkit.report.experiment", "loopkit.report.gather",
        "loopkit.report.audit",
        "loopkit.report.made", "loopkit.report.marks", "loopkit.report.numbers", "loopkit.report.page",
        "loopkit.report.rollouts", "loopkit.report.shortcut", "loopkit.report.studies", "loopkit.report.texts",
        "loopkit.new",
    },
    {
        "loopkit.cli", "loopkit.cli.render", "loopkit.cli.sandbox", "loopkit.cli.run", "loopkit.cli.evaluate",
        "loopkit.cli.study",
        "loopkit.cli.listing", "loopkit.cli.details", "loopkit.cli.check",
        "loopkit.cli.doctor", "loopkit.cli.quality", "loopkit.cli.warmup", "loopkit.cli.rescore",
        "loopkit.cli.agreement", "loopkit.cli.audit", "loopkit.cli.complete", "loopkit.cli.export", "loopkit.cli.new",
        "loopkit.cli.own", "loopkit.cli.report",
    },
]  # fmt: skip
FACADE = "loopkit"
"""``loopkit/__init__.py`` names everything public and loads it on use: above all, and asked only for a version."""
ALLOWED = {
    # why an import may go up
    ("loopkit.contracts", "loopkit.stats.rates"): "the default rate of a detector, computed when it is asked for",
}
LAYER = {module: i for i, layer in enumerate(LAYERS) for module in layer}


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


def test_every_module_has_its_layer() -> None:
    assert set(CORE) - {FACADE} == set(LAYER), "place the new module in LAYERS (or take the old one out)"
    assert sum(map(len, LAYERS)) == len(LAYER), "a module is in two layers"


def test_imports_go_down() -> None:
    used = set()
    wrong = []
    for name, target, _ in found(CORE):
        if name == FACADE or target.split(".")[0] != "loopkit" or target == FACADE:
            continue
        if LAYER[target] > LAYER[name]:
            used.add((name, target))
            if (name, target) not in ALLOWED:
                wrong.append(f"{name} imports {target}, which is above it")
    assert not wrong
    assert used == set(ALLOWED), "an exception that nothing needs any more"


def test_layers_see_an_import_inside_a_function() -> None:
    source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    from loopkit import runner\n"
    assert list(imports(source, {"loopkit.runner"})) == [("b", True), ("loopkit.runner", False)]


def test_the_core_imports_no_plugin() -> None:
    own = {p.split(".")[0] for p in PLUGINS}
    assert own >= {"loopkit_grpo", "loopkit_sft", "loopkit_self_grading", "loopkit_context_compliance"}
    assert not [(n, t) for n, t, _ in found(CORE) if t.split(".")[0] in own]


def test_plugins_do_not_import_each_other() -> None:
    own = {p.split(".")[0] for p in PLUGINS}
    assert not [(n, t) for n, t, _ in found(PLUGINS) if t.split(".")[0] in own - {n.split(".")[0]}]


def test_plugins_use_neither_the_command_line_nor_the_runner() -> None:
    above = {m for m in CORE if m.startswith("loopkit.cli")} | {"loopkit.runner", "loopkit.results"}
    assert not [(n, t) for n, t, _ in found(PLUGINS) if t in above]


@pytest.mark.parametrize("name", sorted(CORE))
def test_torch_is_imported_by_policy_only(name: str) -> None:
    """Elsewhere at most inside a function, and there only in what runs or inspects a policy."""
    heavy = [(t, top) for _, t, top in found({name: CORE[name]}) if t.split(".")[0] in HEAVY]
    if name.startswith("loopkit.policy."):
        return
    assert not [t for t, top in heavy if top]
    if heavy:
        assert name in ("loopkit.parallel", "loopkit.cli.doctor", "loopkit.cli.warmup")


def test_policy_is_imported_lazily() -> None:
    """The command line and the runner reach loopkit.policy inside functions; only ``preload`` imports it outright."""
    top = {n for n, t, top in found(CORE) if top and t.startswith("loopkit.policy") and not n.startswith("loopkit.pol")}
    assert top == {"loopkit.preload"}
