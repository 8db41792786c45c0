"""What the page says of runs that loopkit did not make: what they were measured by, differences, and what lacks."""

from __future__ import annotations

from typing import Any

from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.tables import paired
from loopkit.evidence.write import grid_of


def compared(results: ExperimentResults | None) -> dict[str, Any] | None:
    """Table of differences, sources and notes; None of an experiment of loopkit's own."""
    if results is None or results.compared is None:
        return None
    headers, rows = grid_of(paired(results))
    return {
        "measured": results.compared.measured, "head": headers, "rows": rows,
        "notes": list(results.compared.notes), "sources": list(results.compared.sources.items()),
    }  # fmt: skip
