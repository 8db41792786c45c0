"""Ten results that would mislead a naive reader: what 0.1 said of each, and what is said now (docs/misled.md).

    python -m tools.misled            # writes the page's table from docs/misled.json and this checkout's verdicts
    python -m tools.misled --record   # run by 0.1's interpreter and checkout: keeps what 0.1 said

Each is a set of final rates by arm and seed, made up to look as such results look; no run stands behind them.
``docs/misled.json`` holds the rates, why a reader would be misled, and what 0.1 (6c07c48) answered to them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD, PAGE = ROOT / "docs/misled.json", ROOT / "docs/misled.md"
BEGIN, END = "<!-- table: tools.misled -->\n", "<!-- /table -->\n"
Rates = Mapping[str, Mapping[str, Sequence[float]]]
"""Measure -> arm -> (S,) rates."""


def difference(rates: Rates, measure: str, other: str) -> list[float] | None:
    arms = rates.get(measure, {})
    if other not in arms:
        return None
    return [a - b for a, b in zip(arms["loophole"], arms[other], strict=True)]


def of_0_1(case: Mapping[str, Any]) -> str:
    """What 0.1's verdict is called; its function knows no placebo, no onsets and no levels."""
    from loopkit.stats.verdict import verdict

    rates: Rates = case["rates"]
    found: Any = verdict(
        difference(rates, "exploit", "base") or [], difference(rates, "exploit", "control"),
        difference(rates, "task", "base") or [], difference(rates, "observed", "base"),
        observed_is_paid=case.get("observed_is_paid", False), task_vs_control=difference(rates, "task", "control"),
    )  # fmt: skip
    return str(found.name)


def of_now(case: Mapping[str, Any]) -> tuple[str, str]:
    """(name, sentence) of this checkout's verdict."""
    from statistics import fmean

    from loopkit.stats.verdict import Levels, Margins, verdict

    rates: Rates = case["rates"]
    levels = {m: fmean(rates[m]["base"]) for m in ("exploit", "task", "observed") if m in rates}
    found = verdict(
        difference(rates, "exploit", "base") or [], difference(rates, "exploit", "control"),
        difference(rates, "task", "base") or [], difference(rates, "observed", "base"),
        observed_is_paid=case.get("observed_is_paid", False),
        task_vs_control=difference(rates, "task", "control"),
        exploit_vs_placebo=difference(rates, "exploit", "placebo"),
        task_vs_placebo=difference(rates, "task", "placebo"),
        onsets=case.get("onsets"), placebo_onsets=case.get("placebo_onsets"), levels=Levels(**levels),
        margins=Margins(), missing=case.get("missing", 0),
    )  # fmt: skip
    return found.name, found.sentence()


def percent(values: Sequence[float]) -> str:
    """The rates as whole percents; "all 5: 3" where they are alike."""
    shown = [f"{100 * v:.0f}" for v in values]
    return f"{shown[0]} in each" if len(set(shown)) == 1 else " ".join(shown)


def table(cases: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| | what is reported | what misleads | 0.1 | now |", "|---|---|---|---|---|"]
    for number, case in enumerate(cases, 1):
        rates: Rates = case["rates"]
        reported = "; ".join(
            f"{measure}: " + ", ".join(f"{arm} {percent(values)}" for arm, values in arms.items())
            for measure, arms in rates.items()
        )
        lines.append(f"| {number} | {reported} | {case['misleads']} | {case['0.1']} | {of_now(case)[0]} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    cases = json.loads(RECORD.read_text())
    if sys.argv[1:] == ["--record"]:
        import loopkit

        if loopkit.__version__ != "0.1.0":
            raise SystemExit(f"This is loopkit {loopkit.__version__}: what 0.1 said is told by 0.1's own checkout.")
        for case in cases:
            case["0.1"] = of_0_1(case)
        RECORD.write_text(json.dumps(cases, indent=1) + "\n")
        return 0
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + table(cases) + END + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
