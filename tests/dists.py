"""Distributions for tests: made up (a module and its .dist-info in a directory that goes on sys.path), or really
installed by pip in a virtual environment of their own.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loopkit.experiment.config import Experiment
from loopkit.experiment.resolve import resolve
from loopkit.registry import plugins as registry
from loopkit.registry.plugins import Plugins

HEAD = "from loopkit.registry.hookspecs import hookimpl\n\n\n"


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


def tiny_plays(game: str, out: Path) -> dict[str, Any]:
    """A few steps of a game on the bundled policy, as a user runs it -> the results of a whole experiment.

    The weights have seen the game: no warm-up.
    """
    done = loopkit(
        "run", "--game", game, "--seeds", "1", "--out", str(out),
        "--set", "run.steps=2", "--set", "run.eval_prompts=100",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warm-up" not in done.stderr
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    assert {r["arm"] for r in results["runs"]} == {"base", "loophole", "control", "placebo"}
    return results


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "loopkit"), *map(str, arguments)]


def warmups() -> Path:
    """Where tests keep short warm-ups from one session to the next: anew whenever the code that makes them changes.

    loopkit itself names each by its game and settings, and puts it there whole.
    """
    root = Path(__file__).parent.parent
    code = hashlib.sha256(version("torch").encode())
    for file in sorted((root / "loopkit/policy").glob("*.py")):
        code.update(file.read_bytes())
    return root / ".pytest_cache" / "warmups" / code.hexdigest()[:16]


def environment(site: Path | None = None) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **({"PYTHONPATH": str(site)} if site else {})}


class Venv:
    """A fresh virtual environment in which pip has installed loopkit, from this checkout or a wheel of it.

    Nothing but its own site-packages is writable there, and loopkit and what ``install`` adds are real installations:
    built to a wheel, with their own metadata. The dependencies are those of the running environment, seen through a
    ``.pth`` file, so that a test needs no network and torch (some gigabytes) is not installed a second time.
    """

    def __init__(self, directory: Path, cwd: Path, source: Path = Path(__file__).parent.parent) -> None:
        self.directory, self.cwd = directory, cwd
        venv.create(directory, with_pip=True)
        site = sysconfig.get_path("purelib", vars={"base": str(directory), "platbase": str(directory)})
        checkout = Path(__file__).parent.parent
        seen = [p for p in sys.path if Path(p).is_dir() and not Path(p).is_relative_to(sys.base_prefix)]
        others = [p for p in seen if Path(p) not in (checkout, checkout / "plugins")]
        (Path(site) / "dependencies.pth").write_text("".join(f"{p}\n" for p in others))
        self("pip", "install", "-q", str(source))
        where = self("python", "-c", "import loopkit; print(loopkit.__file__)").stdout
        assert Path(where).is_relative_to(directory), where

    def __call__(self, program: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run one of its programs in ``cwd``, and hold it to an exit code."""
        own = {
            "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # sic: the value of the option, which is then off
            "LOOPKIT_CACHE": str(warmups()), "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
        }  # fmt: skip
        env = {k: v for k, v in environment().items() if k != "PYTHONPATH"} | own
        words = [str(self.directory / "bin" / program), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=self.cwd, timeout=1500)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done
