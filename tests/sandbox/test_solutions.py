"""Programs for real tasks, of both forms, are scored right in every tier; wrong ones are not."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from loopkit.sandbox import Sandbox


def solutions() -> ModuleType:
    file = Path(__file__).resolve().parents[2] / "benchmarks" / "sandbox_solutions.py"
    spec = importlib.util.spec_from_file_location("sandbox_solutions", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sandbox_solutions"] = module
    spec.loader.exec_module(module)
    return module


def test_real_programs_are_scored_right(sandbox: Sandbox) -> None:
    if "LOOPKIT_DATA" not in os.environ:
        pytest.skip("real programs: LOOPKIT_DATA is not set")
    solved = solutions().load()
    forms = [s.program.form for s in solved]
    assert min(forms.count("script"), forms.count("function")) >= 10
    found = sandbox.run(s.program for s in solved)
    assert [s.id for s, o in zip(solved, found, strict=True) if not s.right(o)] == []
    other = [replace(s, program=replace(s.program, source=s.program.source.replace("print(", "print(7, ")))
             for s in solved
             if s.program.form == "script"]  # fmt: skip
    found = sandbox.run(s.program for s in other)
    assert [s.id for s, o in zip(other, found, strict=True) if s.right(o)] == []
