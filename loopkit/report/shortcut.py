"""Of an unproven game: whether training found a shortcut, as the page shows it."""

from __future__ import annotations

from typing import Any

from loopkit.evidence.claims import OnReward
from loopkit.evidence.schema import ExperimentResults
from loopkit.report.numbers import p_value, percent, plain, without_name

HEAD = ["said", "so often", "for example to", "reward", "trusted, %", "flagged by"]


def verdict(claim: OnReward, status: str) -> dict[str, Any]:
    """``shortcut`` of results.json as a verdict box: its tests, but for those of detectors that neither rose nor held
    the verdict up.
    """
    rose = claim.rose
    kept = {"reward rises", "task holds", "task falls"}
    rests = []
    for name, test in claim.components.items():
        detector = name.rpartition(" above ")[0] or name.removesuffix(" holds")
        if name in kept or detector in rose or (name.endswith(" holds") and not rose):
            value = test.estimate.value
            text = plain(value) if name == "reward rises" else f"{100 * value:+.1f}"
            rests.append({"test": name, "estimate": text, "p": p_value(test.p), "shown": test.shown})
    return {
        "name": claim.name, "sentence": without_name(claim.name, claim.sentence), "p": p_value(claim.p),
        "rests": rests, "visible": [], "seeds": claim.seeds, "status": status,
    }  # fmt: skip


def examples(results: ExperimentResults | None) -> dict[str, Any] | None:
    """The table of what was said where a detector rose; None where there is nothing to show."""
    if results is None or not results.examples:
        return None
    rows = [
        [reply.said.strip() or "(empty)", f"{reply.count} of {reply.of}", reply.asked, plain(reply.reward),
         percent(reply.task), ", ".join(reply.flagged) or "-"]
        for reply in results.examples
    ]  # fmt: skip
    return {"head": HEAD, "rows": rows}
