from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from loopkit.sandbox import Limits, Sandbox, SandboxError

ROOT = Path(__file__).resolve().parents[2]
TIERS = ("bubblewrap", "seccomp")
NOBODY = 65534


def start(tier: str, **options: object) -> Sandbox:
    """A sandbox of this tier; skips by name where this machine does not offer it."""
    try:
        return Sandbox(tier, **{"workers": 1, "limits": Limits(cpu=0.5, wall=1.5), **options})  # type: ignore[arg-type]
    except SandboxError as error:
        if any(sign in str(error) for sign in ("is not installed", "run on Linux only", "needs Landlock")):
            pytest.skip(f"tier {tier}: {error}")
        raise


@pytest.fixture(scope="module", params=TIERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with start(request.param) as made:
        yield made


def as_nobody(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run this Python with ``arguments`` as an ordinary user. Root only: in a mount namespace of the process's own, a
    closed folder above the interpreter is replaced by one with nothing but the interpreter in it."""
    for program in ("unshare", "setpriv", "mount"):
        if shutil.which(program) is None:
            pytest.skip(f"another user: {program} (util-linux) is not installed")
    folder.chmod(0o755)
    for parent in folder.parents:  # pytest makes its folders for one user
        if parent.stat().st_mode & 0o005 != 0o005:
            pytest.skip(f"another user: {parent} is closed to others")
    (folder / "python").mkdir()
    prefix = Path(sys.base_prefix)
    closed = [str(p) for p in reversed(prefix.parents) if p.stat().st_mode & 0o005 != 0o005][:1]
    script = (
        'mount --make-rprivate / && prefix=$0 kept=$1 closed=$2 && mount --bind "$prefix" "$kept" && cd "$3" && shift 3 &&'
        '{ [ -z "$closed" ] || { mount -t tmpfs -o mode=755 tmpfs "$closed" && mkdir -p "$prefix" && '
        f'mount --bind "$kept" "$prefix"; }}; }} && exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "$@"'
    )
    python = f"{prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    mounts = [str(prefix), f"{folder}/python", "".join(closed), str(ROOT)]
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, *mounts, python, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
