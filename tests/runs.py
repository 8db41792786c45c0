"""What tests do to run directories."""

from __future__ import annotations

import json
from pathlib import Path

from loopkit.experiment import digests


def without_digests(run: Path) -> Path:
    """The run as a version without digests would have left it."""
    (run / digests.FILE).unlink()
    manifest = json.loads((run / "manifest.json").read_bytes())
    del manifest[digests.KEPT]
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run
