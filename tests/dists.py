"""Distributions made up for a test: a module and its .dist-info in a directory that goes on sys.path."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopkit import plugins as registry
from loopkit.config import Experiment, resolve
from loopkit.plugins import Plugins

HEAD = "from loopkit.hookspecs import hookimpl\n\n\n"


CHANNEL = """
from typing import ClassVar
from loopkit.contracts import RewardChannel, ExploitDetector

class Flat(RewardChannel):
    reads: ClassVar[frozenset[str]] = frozenset({"claims"})
    range: ClassVar[tuple[float, float]] = (0.0, 9.0)
    amount: float = 1.0

    def rewards(self, signals, draws):
        return [self.amount] * len(signals)

class Never(ExploitDetector):
    reads: ClassVar[frozenset[str]] = frozenset({"said"})

    def flags(self, clues):
        return [False] * len(clues)
"""


def hook(kind: str, *calls: str) -> str:
    body = [f"    register({c})\n" for c in calls] or ["    pass\n"]
    return f"@hookimpl\ndef register_{kind}(register):\n{''.join(body)}\n\n"


def names(plugins: registry.Plugins) -> dict[str, list[str]]:
    return {kind: plugins.names(kind) for kind in registry.KINDS}


def messages(plugins: registry.Plugins, distribution: str) -> list[str]:
    return [p.message for p in plugins.problems if p.origin.distribution == distribution]


def specs(plugins: registry.Plugins, **given: Any) -> Any:
    return resolve(Experiment(**{"game": "self-grading", "seeds": "1", **given}), plugins)


def install(
    site: Path, name: str, code: str, *, point: str = "it", version: str = "1.2", requires: Sequence[str] = ()
) -> None:
    """A distribution called ``name`` with one module of ``code``, registered as entry point ``point``."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(HEAD + code)
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
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
