"""One pool a process, started when it is first needed."""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopkit.sandbox import packages
from loopkit.sandbox.programs import Limits
from loopkit.sandbox.tiers import SandboxError, mode, require_linux
from loopkit.system.notices import notice

if TYPE_CHECKING:
    from loopkit.sandbox.pool import Sandbox

_lock = threading.Lock()
_pools: dict[tuple[int, str, Limits, str], Sandbox] = {}


def shared(limits: Limits | None = None) -> Sandbox:
    """This process's sandbox with these limits, in the mode of ``--sandbox`` or LOOPKIT_SANDBOX; started on first use.

    Raises SandboxError where it does not hold. A forked process gets one of its own.
    """
    key = (os.getpid(), mode(), limits or Limits(), os.environ.get(packages.VARIABLE, ""))
    require_linux()
    from loopkit.sandbox.pool import Sandbox  # Linux only

    with _lock:
        for old in [k for k in _pools if k[0] != os.getpid()]:
            del _pools[old]  # the parent's, which goes on using it
        if key not in _pools:
            pool = _pools[key] = Sandbox(key[1], limits=limits)
            atexit.register(pool.close)
            if pool.tier.why and key[1] == "auto":
                notice("sandbox without its outer layer: seccomp and Landlock hold", why=pool.tier.why)
        return _pools[key]


@dataclass(frozen=True)
class Available:
    """What ``loopkit doctor`` prints: the tier a run would get (None: refused), and why, or what to install."""

    tier: str | None
    text: str


def available() -> Available:
    """Start the sandbox that a run would get, once, and say what it is. Raises UsageError for an unknown mode."""
    try:
        mode()
        require_linux()
        from loopkit.sandbox.pool import Sandbox  # Linux only

        with Sandbox(workers=1) as sandbox:
            layers = ", ".join(sandbox.describe()["layers"])
            why = f"; {sandbox.tier.why}" if sandbox.tier.why else ""
            return Available(sandbox.tier.name, f"{sandbox.tier.name} ({layers}){why}")
    except SandboxError as error:
        return Available(None, f"none: {error}")
