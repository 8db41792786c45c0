"""Of an unproven game: whether training found a shortcut, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopkit.records import Json
from loopkit.report.numbers import p_value, percent, plain, shown, without_name

HEAD = ["said", "so often", "for example to", "reward", "trusted, %", "flagged by"]


def verdict(found: Mapping[str, Json], status: str) -> dict[str, Any]:
    """``shortcut`` of results.json as a verdict box: its tests, but for those of detectors that neither rose nor held
    the verdict up.
    """
    rose = found["rose"]
    kept = {"reward rises", "task holds", "task falls"}
    rests = []
    for test, c in found["components"].items():
        detector = test.rpartition(" above ")[0] or test.removesuffix(" holds")
        if test in kept or detector in rose or (test.endswith(" holds") and not rose):
            unit = plain(c["estimate"]["value"]) if test == "reward rises" else f"{100 * c['estimate']['value']:+.1f}"
            rests.append({"test": test, "estimate": unit, "p": p_value(c["p"]), "shown": shown(c)})
    return {
        "name": found["name"], "sentence": without_name(found["name"], found["sentence"]),
        "p": p_value(found["p"]), "rests": rests, "visible": [],
        "seeds": found["seeds"], "status": status,
    }  # fmt: skip


def examples(results: Mapping[str, Json] | None) -> dict[str, Any] | None:
    """The table of what was said where a detector rose; None where there is nothing to show."""
    found = (results or {}).get("examples")
    if not found:
        return None
    rows = [
        [e["said"].strip() or "(empty)", f"{e['count']} of {e['of']}", e["asked"], plain(e["reward"]),
         percent(e["task"]), ", ".join(e["flagged"]) or "-"]
        for e in found
    ]  # fmt: skip
    return {"head": HEAD, "rows": rows}
