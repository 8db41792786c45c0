"""Import paths of 0.1, kept for one release: ``from loopkit.channels import Placebo`` works, with a warning."""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    **{f"loopkit.{name}": f"loopkit.rollouts.{name}" for name in ("scoring", "referee", "playing", "metrics")},
    **{f"loopkit.{n}": f"loopkit.parts.{n}" for n in ("channels", "detectors", "generic", "data", "gym", "judges")},
    **{f"loopkit.{n}": f"loopkit.registry.{n}" for n in ("plugins", "hookspecs", "installed", "contain")},
    **{f"loopkit.{n}": f"loopkit.experiment.{n}" for n in ("config", "resolve", "rundir", "manifest", "recorded")},
    **{f"loopkit.{name}": f"loopkit.running.{name}" for name in ("runner", "parallel")},
    **{f"loopkit.{name}": f"loopkit.evidence.{name}" for name in ("results", "examples")},
    **{f"loopkit.{name}": f"loopkit.system.{name}" for name in ("files", "notices", "processes")},
    "loopkit.audit": "loopkit.elsewhere",
    "loopkit.studies.schema": "loopkit.evidence.schema",
    "loopkit.studies.cells": "loopkit.evidence.tables",
    "loopkit.studies.write": "loopkit.evidence.write",
    **{f"loopkit.audit.{n}": f"loopkit.elsewhere.{n}" for n in ("files", "findings", "formats", "games", "parts")},
}
"""Old module -> new module."""


class _Old:
    """Finder and loader of a moved module: the old name becomes another name of the new module."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        warnings.warn(f"{old} is now {MOVED[old]}; the old path goes with the next release.", DeprecationWarning, 2)
        sys.modules[old] = importlib.import_module(MOVED[old])


def install() -> None:
    """Make the old paths importable."""
    if not any(isinstance(finder, _Old) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Old())  # first: the path finder would load a second copy of a package's module
