"""Where the command ``loopkit`` starts: it looks whose the import package ``loopkit`` is before it imports it.

The distribution loopkit-rl and a stranger, the control-theory library ``loopkit``, write the same folder. This module
has a top-level name of its own, which the stranger does not write, and imports nothing but the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

OURS, PACKAGE = "loopkit-rl", "loopkit"
FIRST = f"{PACKAGE}/__init__.py"


def main() -> None:
    """Entry point of the command. Exit code 2, with the cure, where the package is not ours."""
    if why := fault():
        print(f"Error: {why}", file=sys.stderr)
        sys.exit(2)
    from loopkit.cli import main as command

    command()


def fault() -> str | None:
    """What is wrong with the installation, whose fault it is, and the cure; None where ``loopkit`` is ours, and whole.

    An editable installation cannot be written over, but another ``loopkit`` may be found before it.
    """
    here = Path(__file__).resolve().parent.parent / FIRST
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin and Path(spec.origin).resolve() != here:
        found = Path(spec.origin).resolve()
        who = _writer(found)
        cure = _cure(who, again=False) if who else "Take that folder off the import path."
        return f"`import loopkit` gets {who or f'the one in {found.parent}'}, which is found before {OURS}'s. {cure}"
    ours = _ours()
    changed = [name for name, digest in _recorded(ours) if _digest(ours, name) != digest] if ours else []
    hidden = [] if changed else list(_hidden(ours))
    if not here.exists() or changed or hidden:
        who = _writer(here)
        file = (changed or hidden or [FIRST])[0]
        did = f"{who} has written over" if who else "another distribution has written over or removed"
        return f"{did} files of {OURS}, such as {file}. {_cure(who, again=True)}"
    return None


def stranger() -> str | None:
    """The distribution called ``loopkit``, which is another project's, with its version; None where there is none."""
    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError:
        return None
    return f"{found.name} {found.version}"


def reinstall() -> str:
    """The command that lays the files of this distribution anew, from where it was installed."""
    ours = _ours()
    try:
        source = json.loads((ours and ours.read_text("direct_url.json")) or "{}")
    except ValueError:
        source = {}
    what = str(source.get("url", "")) or (f"{OURS}=={ours.version}" if ours else OURS)
    if version := source.get("vcs_info"):
        what = f"{version.get('vcs', 'git')}+{what}@{version.get('commit_id', '')}".rstrip("@")
    return f"pip install --force-reinstall --no-deps {shlex.quote(what)}"


def _cure(who: str | None, *, again: bool) -> str:
    steps = [f"`pip uninstall -y {who.partition(' ')[0]}`"] if who else []
    return f"Cure: {', then '.join([*steps, *([f'`{reinstall()}`'] if again else [])])}."


def _ours() -> Distribution | None:
    try:
        return distribution(OURS)
    except PackageNotFoundError:
        return None


def _recorded(dist: Distribution | None) -> Iterator[tuple[str, str]]:
    """(path, SHA-256 in base64) of the package's files, as they were installed: the first one, whose name every
    ``loopkit`` has, and all of them where a stranger is installed. None of an editable installation."""
    everything = stranger() is not None
    for file in (dist and dist.files) or ():
        if file.hash is not None and (str(file) == FIRST or (everything and file.parts[0] == PACKAGE)):
            yield file.as_posix(), file.hash.value


def _digest(dist: Distribution, name: str) -> str:
    try:
        data = Path(str(dist.locate_file(name))).read_bytes()
    except OSError:
        return ""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _hidden(ours: Distribution | None) -> Iterator[str]:
    """Our modules that a stranger's package of the same name is found before: x.py beside x/__init__.py."""
    if stranger() is None:
        return
    mine = {f.as_posix() for f in (ours and ours.files) or ()}
    for file in distribution(PACKAGE).files or ():
        if file.name == "__init__.py" and (module := f"{file.parent.as_posix()}.py") in mine:
            yield module


def _writer(file: Path) -> str | None:
    """Another distribution that says it installed this file, with its version."""
    for dist in distributions():
        if dist.name in (None, OURS) or dist.name.replace("_", "-").lower() == OURS:
            continue
        if any(str(f) == FIRST and Path(str(dist.locate_file(f))).resolve() == file for f in dist.files or ()):
            return f"{dist.name} {dist.version}"
    return None
