"""The page, written once: what ``loopkit report`` and ``.report()`` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loopkit.errors import UsageError
from loopkit.registry import plugins as registry
from loopkit.report.page import build
from loopkit.system.files import write_whole


def write_page(directories: Sequence[Path], path: Path) -> Path:
    """Write the page of experiments and studies to ``path``. Raises UsageError for a name that cannot be a page's."""
    if path.suffix not in (".html", ".htm"):
        raise UsageError(f"{path}: the page is HTML. Name a file that ends in .html.")
    page, _ = build(directories, registry.load())
    write_whole(path, page.encode())
    return path
