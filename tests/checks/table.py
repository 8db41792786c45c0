"""What each broken plugin is told: ``python -m tests.checks.table`` writes the tables of results/broken-plugins.md.

The tests hold every row to what the plugin is told now.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from loopkit.checks import Report, check_game
from loopkit.checks.report import GAME_RULES, INTERVENTION_RULES, RULES, TRAINER_RULES
from tests.checks.broken_games import BROKEN, CONFIGURED

ROOT = Path(__file__).parents[2]
TOLD = ROOT / "results/broken-plugins.md"
CHECKS = ROOT / "docs/contracts.md"
CURE = re.compile(
    r"(^|[.:;] )(Add|Bound|Call|Close|Compute|Continue|Declare|Define|Derive|Draw|Drop|Give|Keep|Key|Let|Make|mend|"
    r"Name|Pass|Pick|Play|Rename|Resume|Return|Save|Seed|Set|Sort|Use|Work)\b"
)
ROW = re.compile(r"\| (?P<name>.+?) \| `(?P<check>\w+)` \| `` (?P<told>.*) `` \|")
CONFIGURED.append(1)


def complaints(report: Report, check: str) -> list[str]:
    return [f.message for f in report.findings if f.check == check and not f.ok]


def told(report: Report, check: str, fragment: str) -> str:
    """The complaint with this fragment, without what changes from run to run."""
    found = next((m for m in complaints(report, check) if fragment in m), "")
    assert found, f"{check} does not say {fragment!r}: {report.reasons}"
    found = re.sub(r"'/[^']*/", "'…/", re.sub(r"(\.py):\d+", r"\1", found))
    found = re.sub(r"'\d\.\d{9,}'", "'0.…'", found)
    return " ".join(found.split()).replace("|", "¦")


def documented(title: str) -> dict[str, tuple[str, str]]:
    """Name -> (check, what it is told) of a table in results/broken-plugins.md."""
    return {m["name"]: (m["check"], m["told"]) for m in map(ROW.fullmatch, _part(title)[1].splitlines()) if m}


def _part(title: str, page: Path = TOLD) -> tuple[str, str, str]:
    """The page before, within and after a generated part."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {title} -->\n", f"<!-- /{title} -->\n"
    before, _, rest = text.partition(begin)
    within, _, after = rest.partition(end)
    return before + begin, within, end + after


def _write(title: str, lines: Iterable[str], page: Path = TOLD) -> None:
    before, _, after = _part(title, page)
    page.write_text(before + "\n".join(lines) + "\n" + after, encoding="utf-8")


def rows(found: Iterable[tuple[str, str, str, Callable[[], Report]]]) -> list[str]:
    ordered = sorted(found, key=lambda row: list(RULES).index(row[1]))
    lines = [f"| {name} | `{check}` | `` {told(make(), check, part)} `` |" for name, check, part, make in ordered]
    return ["| broken plugin | check | what it is told |", "|---|---|---|", *lines]


def main() -> None:
    from tests.checks.broken_trainers import BROKEN_TRAINERS
    from tests.checks.test_trainers import check

    for title, rules in (
        ("game checks", GAME_RULES),
        ("trainer checks", TRAINER_RULES),
        ("intervention checks", INTERVENTION_RULES),
    ):
        lines = [f"| `{name}` | {rule.proves} | {rule.cure} |" for name, rule in rules.items()]
        _write(title, ["| check | what it proves | the cure |", "|---|---|---|", *lines], CHECKS)
    _write("games", rows((n, c, part, lambda g=g: check_game(g)) for n, (g, c, part) in BROKEN.items()))  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        _write("trainers", rows(
            (n, c, part, lambda t=t, c=c, n=n: check(t, Path(folder) / n, check=c))  # type: ignore[misc]
            for n, (t, c, part) in BROKEN_TRAINERS.items()
        ))  # fmt: skip


if __name__ == "__main__":
    main()
