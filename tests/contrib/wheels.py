"""A distribution of ``contrib/``, built as a wheel and installed in a fresh virtual environment."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.dists import Venv

CONTRIB = Path(__file__).parents[2] / "contrib"


def install(name: str, where: Path) -> Venv:
    """A virtual environment under ``where`` in which pip has installed loopkit and then the wheel of ``contrib/name``.

    It works in a directory of its own, so nothing of the checkout is importable there.
    """
    (where / "work").mkdir(parents=True)
    made = Venv(where / "venv", where / "work")
    made("pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(where / "wheels"), str(CONTRIB / name))
    (wheel,) = (where / "wheels").glob("*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    assert any(f.endswith("entry_points.txt") for f in files), files
    assert not [f for f in files if Path(f).parts[0] == "tests"], "tests belong into the repository, not into the wheel"
    made("pip", "install", "-q", "--no-deps", str(wheel))
    return made


def run_tests(made: Venv, name: str) -> None:
    """The distribution's own tests, against what is installed."""
    made("python", "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(CONTRIB / name / "tests"))
