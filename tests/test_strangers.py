"""Another project's ``loopkit`` in the same environment and on the same index: whose is imported, and who is named.

The stranger here is made up: a wheel called ``loopkit 1.0.1`` with an import package ``loopkit``, as the real one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

import loopkit
from loopkit.new import game_files, write
from tests.pages import ROOT

STRANGER = {"loopkit/__init__.py": "__version__ = '1.0.1'\n", "loopkit/errors.py": "", "loopkit/control.py": ""}


def wheel(folder: Path, name: str, number: str, files: Mapping[str, str], needs: Sequence[str] = ()) -> Path:
    """A wheel with these files and nothing else, written by hand."""
    info = f"{name.replace('-', '_')}-{number}.dist-info"
    asks = "".join(f"Requires-Dist: {need}\n" for need in needs)
    held = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{asks}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, text in held.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        lines.append(f"{path},sha256={digest},{len(text.encode())}\n")
    out = folder / f"{name.replace('-', '_')}-{number}-py3-none-any.whl"
    with zipfile.ZipFile(out, "w") as packed:
        for path, text in {**held, f"{info}/RECORD": "".join([*lines, f"{info}/RECORD,,\n"])}.items():
            packed.writestr(path, text)
    return out


def built(source: Path, into: Path) -> Path:
    (made,) = WheelBuilder(str(source)).build(directory=str(into), versions=["standard"])
    return Path(made)


def plain() -> dict[str, str]:
    """pip as nobody has set it up: where else it would look must not decide."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PIP_")} | {"PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("ours"))


class Place:
    """An environment without pip, which the running one's pip installs into; dependencies are seen through a .pth."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = str(directory / "bin/python")
        venv.create(directory, with_pip=False, symlinks=True)
        site = sysconfig.get_path("purelib", vars={"base": str(directory), "platbase": str(directory)})
        seen = [p for p in sys.path if Path(p).is_dir() and not Path(p).is_relative_to(sys.base_prefix)]
        others = [p for p in seen if Path(p) not in (ROOT, ROOT / "plugins")]
        (Path(site) / "dependencies.pth").write_text("".join(f"{p}\n" for p in others))

    def pip(self, *words: str) -> str:
        known = ["--disable-pip-version-check", "--python", self.python, *words]
        if words[0] == "install":
            known += ["--no-index", "--no-deps", "--no-build-isolation"]
        done = subprocess.run([sys.executable, "-m", "pip", *known], capture_output=True, text=True, env=plain())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def loopkit(self, *words: str) -> tuple[int, str, str]:
        command = [str(self.directory / "bin/loopkit"), *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.directory)
        return done.returncode, done.stdout, done.stderr

    def works(self) -> bool:
        return self.loopkit("--version") == (0, f"loopkit, version {loopkit.__version__}\n", "")

    def cure(self, message: str) -> None:
        """Do what the message says, to the letter."""
        for command in re.findall(r"`(pip .*?)`", message):
            self.pip(*shlex.split(command)[1:])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    return wheel(tmp_path, "loopkit", "1.0.1", STRANGER)


def test_a_stranger_before_ours_after_ours_and_gone(place: Place, stranger: Path, ours: Path) -> None:
    place.pip("install", str(stranger))
    place.pip("install", str(ours))
    assert place.works(), "ours has written over the stranger's"
    place.pip("install", "--force-reinstall", str(stranger))
    code, out, said = place.loopkit("list")
    assert (code, out) == (2, "")
    assert "loopkit 1.0.1 has written over files of loopkit-rl" in said
    assert "Traceback" not in said
    assert "`pip uninstall -y loopkit`, then `pip install --force-reinstall --no-deps " in said
    place.pip("uninstall", "-y", "loopkit")  # without being told: it takes the files that both have with it
    code, out, gone = place.loopkit("list")
    assert (code, out) == (2, "")
    assert "removed files of loopkit-rl" in gone
    assert "uninstall" not in gone
    place.cure(gone)
    assert place.works()
    place.pip("install", str(stranger))
    place.cure(place.loopkit("list")[2])
    assert place.works()


def test_a_module_of_ours_that_a_strangers_package_hides(tmp_path: Path, place: Place, ours: Path) -> None:
    place.pip("install", str(wheel(tmp_path, "loopkit", "1.0.1", {**STRANGER, "loopkit/seeding/__init__.py": ""})))
    place.pip("install", str(ours))
    code, _, said = place.loopkit("list")
    assert code == 2
    assert "loopkit 1.0.1" in said
    assert "loopkit/seeding.py" in said
    place.cure(said)
    assert place.works()


@pytest.mark.slow
def test_a_stranger_beside_a_checkout(place: Place, stranger: Path) -> None:
    """An editable installation cannot be written over, but the stranger is found first."""
    place.pip("install", "-e", str(ROOT))
    assert place.works()
    place.pip("install", str(stranger))
    code, _, said = place.loopkit("list")
    assert code == 2
    assert "loopkit 1.0.1, which is found before loopkit-rl's" in said
    place.cure(said)
    assert place.works()


def test_plugins_from_outside_get_ours_from_an_index_that_has_both(tmp_path: Path, place: Place, ours: Path) -> None:
    """Resolved by pip, over a folder of wheels: empty ones stand for what is neither ours nor the stranger's."""
    index = tmp_path / "index"
    index.mkdir()
    wheel(index, "loopkit", "1.0.1", STRANGER)
    (index / ours.name).write_bytes(ours.read_bytes())
    write(game_files("my-game"), tmp_path / "mine")
    sources = [tmp_path / "mine", *(p.parent for p in sorted((ROOT / "contrib").glob("*/pyproject.toml")))]
    assert len(sources) == 5
    projects = [tomllib.loads((s / "pyproject.toml").read_text())["project"] for s in (ROOT, *sources)]
    asked = {
        need for p in projects for list_ in (p["dependencies"], *p["optional-dependencies"].values()) for need in list_
    }
    for name, specifier in {(r.name, r.specifier) for r in map(Requirement, asked) if r.name != "loopkit-rl"}:
        numbers = [s.version for s in specifier if s.operator == ">="]
        with contextlib.suppress(PackageNotFoundError):
            numbers.append(version(name))
        wheel(index, name, next((n for n in reversed(numbers) if specifier.contains(n)), "1"), {})
    wheels = [str(built(source, index)) for source in sources]
    command = ["install", "--dry-run", "--no-index", "--ignore-installed", "-q", "--find-links", str(index)]
    pip = [sys.executable, "-m", "pip", "--python", place.python, "--disable-pip-version-check", *command]
    done = subprocess.run([*pip, "--report", "-", *wheels], capture_output=True, text=True, env=plain())
    assert done.returncode == 0, done.stderr
    chosen = {one["metadata"]["name"]: one["metadata"]["version"] for one in json.loads(done.stdout)["install"]}
    assert chosen["loopkit-rl"] == loopkit.__version__
    assert {"loopkit-my-game", "loopkit-pushback", "torch"} <= set(chosen)
    assert "loopkit" not in chosen
    for project in projects[1:]:  # with an upper bound: the next release may break it
        (need,) = [r for r in map(Requirement, project["dependencies"]) if r.name == "loopkit-rl"]
        assert need.specifier.contains(loopkit.__version__)
        assert not need.specifier.contains("1.0")
