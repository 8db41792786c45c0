"""What is uploaded: wheel and source distribution, what twine says of them, and README's line from the wheel."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import loopkit
from tests.dists import Venv
from tests.pages import ROOT, blocks, same_experiment

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both, made by hatchling in a process of its own: the wheel from the source distribution, so
    that nothing of it comes from what lies about in the checkout."""
    out = tmp_path_factory.mktemp("dist")
    _hatchling(ROOT, out, "sdist")
    (archive,) = out.iterdir()
    with tarfile.open(archive) as packed:
        packed.extractall(out / "unpacked", filter="data")
    (source,) = (out / "unpacked").iterdir()
    _hatchling(source, out, "wheel")
    return out


def _hatchling(source: Path, out: Path, target: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def wheel_of(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


def archive_of(built: Path) -> Path:
    (archive,) = built.glob("*.tar.gz")
    return archive


def test_twine_finds_nothing(built: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", str(wheel_of(built)), str(archive_of(built))]
    done = subprocess.run(command, capture_output=True, text=True, env={"NO_COLOR": "1", "PATH": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_is_small_and_holds_the_packages_and_nothing_else(built: Path) -> None:
    wheel = wheel_of(built)
    assert wheel.name == f"loopkit_rl-{loopkit.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 10 * MEGABYTE
    names = zipfile.ZipFile(wheel).namelist()
    plugins = {p.parent.name for p in (ROOT / "plugins").glob("loopkit_*/__init__.py")}
    assert {n.split("/")[0] for n in names} == {
        "loopkit", "loopkit_command", f"loopkit_rl-{loopkit.__version__}.dist-info", *plugins,
    }  # fmt: skip
    own = [n for n in names if not n.startswith("loopkit/new/template/")]  # what `loopkit new` writes has tests
    assert not [n for n in own if re.search(r"(^|/)(tests?|conftest\.py|test_\w+\.py|__pycache__|\.\w+)(/|$)", n)]


def test_the_wheel_says_what_python_it_was_tested_on(built: Path) -> None:
    packed = zipfile.ZipFile(wheel_of(built))
    name = next(n for n in packed.namelist() if n.endswith(".dist-info/METADATA"))
    said = Parser().parsestr(packed.read(name).decode())
    assert said["Requires-Python"] == ">=3.11"
    versions = [c for c in said.get_all("Classifier") if re.search(r"Python :: 3\.", c)]
    named = {v.rpartition(" ")[2] for v in versions}
    record = ROOT / "docs/versions.json"
    rows = json.loads(record.read_text()).values() if record.exists() else ()
    assert "3.11" in named, "what .ci/run runs on"
    assert named - {"3.11"} <= {row["python"] for row in rows if row["passed"]}, "no row of tools/matrix passed there"
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Description-Content-Type"] == "text/markdown"


def test_the_source_distribution_holds_what_git_does_and_no_more(built: Path) -> None:
    """Tests and documentation with their pictures, too: who gets the sources can run and build them."""
    archive = archive_of(built)
    assert archive.stat().st_size < 10 * MEGABYTE
    top = f"loopkit_rl-{loopkit.__version__}/"
    with tarfile.open(archive) as packed:
        held = {m.name.removeprefix(top) for m in packed if m.isfile()}
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is not a checkout of git's: " + listed.stderr.strip())
    ours = {n for n in listed.stdout.splitlines() if not n.startswith("contrib/") and (ROOT / n).exists()}
    assert held - ours == {"PKG-INFO"}
    assert ours - held == set()
    assert {"docs/report.png", "docs/games/self-grading.svg", "docs/conf.py", "tests/conftest.py"} <= held


def test_extras_name_no_extra_that_is_not_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lists = [m[1] for needs in extras.values() for n in needs if (m := re.fullmatch(r"loopkit-rl\[([\w,-]+)\]", n))]
    asked = {name for names in lists for name in names.split(",")}
    assert {"text", "train", "docs"} <= asked <= set(extras)


@pytest.mark.nightly
@pytest.mark.slow
def test_readmes_main_line_runs_from_the_wheel(built: Path, tmp_path: Path) -> None:
    """In a new environment and an empty folder, with no checkout in sight: its table and its verdict."""
    (block,) = [b.text for b in blocks(ROOT / "README.md", "sh") if "pip install" in b.text and "loopkit run" in b.text]
    _, command = block.strip().splitlines()
    expected = next(b.text for b in blocks(ROOT / "README.md", "text") if "found it" in b.text)
    folder = tmp_path / "empty"
    folder.mkdir()
    fresh = Venv(tmp_path / "venv", folder, wheel_of(built))
    program, *arguments = shlex.split(command.removeprefix(".venv/bin/"))
    same_experiment("base", "loophole", "control", "placebo")(fresh(program, *arguments).stdout, expected)
