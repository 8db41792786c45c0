"""Packages that programs may import by option: imported in the zygote before it locks up, by name, from this Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from loopkit.errors import UsageError

VARIABLE = "LOOPKIT_SANDBOX_PACKAGES"
KNOWN = {
    "numpy": "numpy numpy.fft numpy.linalg numpy.ma numpy.polynomial numpy.random numpy.lib.stride_tricks",
    "sortedcontainers": "sortedcontainers",
}
"""Name -> modules that are imported beforehand: later none can be, but from what was read by then."""


@dataclass(frozen=True)
class Packages:
    """folders: where they lie; arguments: what the worker is told; versions: what the manifest records."""

    folders: tuple[str, ...]
    arguments: tuple[str, ...]
    versions: dict[str, str]


def allowed(names: Sequence[str] | None) -> Packages:
    """The packages named, else those of LOOPKIT_SANDBOX_PACKAGES (with commas). Raises UsageError."""
    if names is None:
        names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    folders, modules, versions = [], [], {}
    for name in sorted(set(names)):
        if name not in KNOWN:
            raise UsageError(f"programs cannot be allowed the package {name!r}. Known: {', '.join(KNOWN)}.")
        try:
            spec, versions[name] = find_spec(name), version(name)
        except PackageNotFoundError:
            spec = None
        if spec is None or spec.origin is None:
            raise UsageError(f"the package {name!r}, which programs are to be allowed, is not installed here.")
        folders.append(str(Path(spec.origin).resolve().parent.parent))
        modules += KNOWN[name].split()
    unique = tuple(dict.fromkeys(folders))
    return Packages(unique, (os.pathsep.join(unique), *modules) if modules else (), versions)
