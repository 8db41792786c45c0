"""What Python's metadata says is installed: the entry points of loopkit's group, and which loopkit they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from loopkit import __version__
from loopkit.registry.contain import describe, excerpt
from loopkit.registry.hookspecs import GROUP

OWN = "loopkit-rl"
"""The distribution's name. ``loopkit`` is its import package, its command and the group of entry points; a distribution
of that name is another project's."""
STRANGER = "loopkit"


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: distribution, its version, and the entry point's name."""

    distribution: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def points(report: Callable[[Origin, str], None]) -> list[tuple[Origin, EntryPoint]]:
    """Every entry point of the group: loopkit's own first, so that nobody can take a bundled name; then by name.

    A distribution whose metadata cannot be read is reported, and spoils no other.
    """
    by_name: dict[str, list[tuple[Origin, EntryPoint]]] = {}
    for dist in distributions():
        try:
            if f"[{GROUP}]" in (
                dist.read_text("entry_points.txt") or ""
            ):  # other packages' metadata does not matter here
                entries = [(_origin(dist, p), p) for p in dist.entry_points.select(group=GROUP)]
                by_name.setdefault(
                    canonicalize_name(dist.name or "unknown"), entries
                )  # the first on the path is imported
        except Exception as error:
            folder = str(getattr(dist, "_path", "unknown")).replace("\\", "/").rpartition("/")[2]
            report(
                Origin(excerpt(folder, 100), "?", ""),
                f"its metadata cannot be read: {describe(error)}. Reinstall or remove it.",
            )
    flat = [pair for pairs in by_name.values() for pair in pairs]
    return sorted(flat, key=lambda pair: (pair[0].distribution != OWN, pair[0].distribution, pair[0].entry_point))


def _origin(dist: Distribution, point: EntryPoint) -> Origin:
    return Origin(excerpt(dist.name or "unknown", 100), excerpt(dist.version or "?", 100), excerpt(point.name, 100))


def unmet(dist: Distribution | None) -> str | None:
    """What a distribution's own metadata asks of loopkit, where this is not it (pip may be told to ignore it)."""
    for line in (dist and dist.requires) or ():
        try:
            need = Requirement(line)
        except InvalidRequirement:  # an old or odd one, perhaps of some other package: pip's business
            continue
        name = canonicalize_name(need.name)
        if name not in (OWN, STRANGER) or (need.marker and not need.marker.evaluate({"extra": ""})):
            continue
        if name == STRANGER:
            return f"asks for {STRANGER}, which is another project's distribution: this one is {OWN}"
        if not need.specifier.contains(__version__, prereleases=True):
            return f"needs {OWN}{need.specifier}, this is {__version__}"
    return None


def requirement() -> str:
    """What a distribution made for this loopkit asks for: from this version on, below the next that may break it."""
    release = Version(__version__).release
    return f"{OWN}>={__version__},<{release[0]}.{release[1] + 1}"
