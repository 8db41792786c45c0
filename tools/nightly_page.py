"""docs/nightly.md from what tools/nightly left in build/nightly: ``python -m tools.nightly_page "minutes by part"``."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
HEAD = """# The nightly tests

What `.ci/run` has no time or no programs for is run by one command, `tools/nightly`: other shells, the report in a real browser, logs of the real libraries, every tutorial and every distribution of `contrib/`, repeated kills, a soak.
It writes this page.
Studies and benchmarks (`pytest -m acceptance`) are run by hand, and their results are kept beside what they are about.
"""  # noqa: E501
NONE = "\n## The last run\n\nNone is kept yet.\n"


def page(results: dict[str, Path], minutes: str, commit: str, date: str) -> str:
    """The page. ``results``: suite -> its JUnit file; ``minutes``: lines of ``.ci/parts.sh``."""
    lines = ["", "## The last run", "", f"Commit `{commit}`, {date}.", ""]
    lines += ["| suite | passed | failed | skipped |", "|---|---|---|---|"]
    named: list[str] = []
    for suite, file in results.items():
        n: Counter[str] = Counter()
        for case in ElementTree.parse(file).getroot().iter("testcase"):
            kinds = {child.tag for child in case}
            outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            n[outcome] += 1
            if outcome == "failed":
                named.append(f"{case.get('classname')}::{case.get('name')}")
        lines.append(f"| {suite} | {n['passed']} | {n['failed']} | {n['skipped']} |")
    if named:
        lines += ["", "Failed:", "", *(f"- `{name}`" for name in named)]
    lines += ["", "```text", *minutes.rstrip().splitlines(), "```"]
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    files = {name: ROOT / "build/nightly" / f"{name}.xml" for name in ("nightly", "slow", "fast")}
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout
    there = {name: file for name, file in files.items() if file.exists()}
    text = page(there, sys.argv[1], commit.strip(), datetime.date.today().isoformat()) if there else HEAD + NONE
    (ROOT / "docs/nightly.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
