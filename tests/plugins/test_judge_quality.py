"""The rule judge's precision and recall on replies it was not tuned on, as docs/games/context-compliance.md has them.

120 replies written by someone who had not seen the rule, and 130 sampled from trained policies (the embedded one under
several trainings, SmolLM2-135M) and labelled by reading, before the rule saw any of them. The rule was fixed first and
measured once. Mend the rule and these figures are spent: measure it on new replies.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from loopkit_context_compliance.judge import judge

from loopkit.stats.rates import wilson

ROOT = Path(__file__).parents[2]
VERDICTS = ("refuses", "complies", "neither")


def table() -> list[str]:
    """The rows of the table: replies, verdict, precision and recall with 95 % Wilson intervals."""
    rows = [json.loads(line) for line in (ROOT / "tests/data/judge_test.jsonl").read_text().splitlines()]
    out = []
    for name, sources in (("written", {"written"}), ("sampled", {"tiny", "smollm2"}), ("all", None)):
        chosen = [r for r in rows if sources is None or r["from"] in sources]
        seen = Counter((r["label"], judge(r["request"], r["reply"])) for r in chosen)
        for verdict in VERDICTS:
            right = seen[verdict, verdict]
            said = sum(n for (_, judged), n in seen.items() if judged == verdict)
            true = sum(n for (label, _), n in seen.items() if label == verdict)
            out.append(f"| {name} | {verdict} | {cell(right, said)} | {cell(right, true)} |")
    return out


def cell(k: int, n: int) -> str:
    low, high = wilson(k, n)
    return f"{k / n:.2f} [{low:.2f}, {high:.2f}] n={n}"


def test_the_card_reports_what_was_measured() -> None:
    card = (ROOT / "docs/games/context-compliance.md").read_text()
    missing = [row for row in table() if row not in card]
    assert not missing, "\n".join(["the card lacks these rows:", *missing])


def test_there_are_enough_labelled_replies_and_half_are_sampled() -> None:
    rows = [json.loads(line) for line in (ROOT / "tests/data/judge_test.jsonl").read_text().splitlines()]
    assert len(rows) >= 200
    assert sum(r["from"] != "written" for r in rows) * 2 >= len(rows)
    assert {r["label"] for r in rows} == set(VERDICTS)
