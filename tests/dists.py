"""Distributions made up for a test: a module and its .dist-info in a directory that goes on sys.path."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopkit import plugins as registry
from loopkit.plugins import Plugins

HEAD = "from loopkit.hookspecs import hookimpl\n\n\n"


def install(site: Path, name: str, code: str, *, point: str = "it", version: str = "1.2") -> None:
    """A distribution called ``name`` with one module of ``code``, registered as entry point ``point``."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(HEAD + code)
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[loopkit]\n{point} = {module}\n")


@contextmanager
def on_path(site: Path) -> Iterator[Plugins]:
    """The registry with the distributions of ``site`` installed."""
    before = set(sys.modules)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    registry.load.cache_clear()
    try:
        yield registry.load()
    finally:
        sys.path.remove(str(site))
        importlib.invalidate_caches()
        registry.load.cache_clear()
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(site)):
                del sys.modules[name]


def loopkit(
    *arguments: str, site: Path | None = None, cwd: Path | None = None, timeout: float = 280
) -> subprocess.CompletedProcess[str]:
    """The installed command, as a user calls it."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(site), cwd=cwd, timeout=timeout
    )


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "loopkit"), *map(str, arguments)]


def environment(site: Path | None = None) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **({"PYTHONPATH": str(site)} if site else {})}
