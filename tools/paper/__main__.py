"""Measure the paper's reward functions and write docs/paper-values.json and its page.

``python -m tools.paper --code CLONE --data FOLDER`` runs the functions of a clone of the paper's repository on made
rows and on the real rows of a folder, and keeps their numbers. ``python -m tools.paper`` holds the page to the kept
numbers and to loopkit's own on made rows (``--data FOLDER``: on the real ones too). Exit code 1: something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.paper import kinds, ours, page, rows
from tools.paper.rows import Row

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "paper-values.json"
MADE = "made"
SAME = 1e-6
"""Two numbers that differ by less are equal; the kept ones have seven decimals."""


def sets(game: str, data: Path | None) -> Iterator[tuple[str, list[Row]]]:
    """(name, rows): the made ones, and the real ones where a folder has them."""
    yield MADE, rows.MADE[game]()
    if data is not None and (found := rows.real(game, data)) is not None:
        yield rows.FILES[game], found


def mine(game: str, some: Sequence[Row]) -> ours.Values:
    """loopkit's numbers."""
    with tempfile.TemporaryDirectory() as folder:
        return ours.values(game, some, Path(folder))


def measure(code: Path, data: Path | None, games: Sequence[str], kept: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is kept, made anew for these games: the paper's numbers, and how many of loopkit's are equal to them.

    Yields it after each set of rows, so that hours of work are not lost.
    """
    from tools.paper.theirs import Theirs

    theirs = Theirs(code)
    heard = zip(kinds.REPORTS, theirs.claims(kinds.REPORTS), ours.claims(kinds.REPORTS), strict=True)
    kept["reports"] = [list(one) for one in heard]
    for game in games:
        for name, some in sets(game, data):
            played = ours.played(some)
            by_row = [[theirs.values(game, row, kind(row)) for kind in kinds.KINDS[game].values()] for row in played]
            found = {
                kind: {m: [_short(row[k][m]) for row in by_row] for m in by_row[0][0]}
                for k, kind in enumerate(kinds.KINDS[game])
            }
            one = {"rows": len(played), "sha256": sha256(game, name, data), "theirs": found}
            kept["games"].setdefault(game, {})[name] = {**one, "equal": compared(found, mine(game, some))}
            print(f"{game}, {name}: {len(played)} rows", file=sys.stderr)
            yield kept


def compared(theirs: ours.Values, found: ours.Values) -> dict[str, dict[str, list[float]]]:
    """Kind -> measure -> [rows on which both are equal, the largest difference]."""
    out: dict[str, dict[str, list[float]]] = {}
    for kind, measures in theirs.items():
        out[kind] = {}
        for name, values in measures.items():
            gaps = [abs(a - b) for a, b in zip(values, found[kind][name], strict=True)]
            out[kind][name] = [sum(gap <= SAME for gap in gaps), round(max(gaps), 3)]
    return out


def sha256(game: str, name: str, data: Path | None) -> str | None:
    """A hash of the file that real rows come from."""
    if name == MADE or data is None:
        return None
    return hashlib.sha256((data / rows.FILES[game]).read_bytes()).hexdigest()


def _short(value: float) -> float:
    return int(value) if value == int(value) else round(value, 7)


def written(kept: dict[str, Any]) -> str:
    """The JSON, a line for each kind."""
    text = json.dumps(kept, ensure_ascii=False)
    return text.replace('}, "', '},\n"').replace("}}, ", "}},\n") + "\n"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.paper", description=__doc__)
    parser.add_argument("--code", type=Path, help="a clone of the paper's repository: measure its functions again")
    parser.add_argument("--data", type=Path, help="a folder with the real rows, as LOOPKIT_DATA names one")
    parser.add_argument("--games", default=",".join(rows.MADE), help="measure these, and keep the others' numbers")
    given = parser.parse_args()
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"games": {}}
    for now in measure(given.code, given.data, given.games.split(","), kept) if given.code else ():
        KEPT.write_text(written(now), encoding="utf-8")
        page.PAGE.write_text(page.text(now), encoding="utf-8")
    faults = [] if page.PAGE.read_text(encoding="utf-8") == page.text(kept) else [f"{page.PAGE} is not as {KEPT} says"]
    for game in rows.MADE:
        for name, some in sets(game, given.data):
            faults += faults_of(game, name, kept, some)
    print("\n".join(faults) or "equal, but for what the page lists")
    return int(bool(faults))


def faults_of(game: str, name: str, kept: dict[str, Any], some: Sequence[Row]) -> list[str]:
    """What differs from the kept numbers, beyond what ``verdicts`` lists."""
    from tools.paper.verdicts import pairs

    if name not in kept["games"].get(game, {}):
        return [f"{game}, {name}: the paper's code was not measured on these rows (--code)"]
    there, may = kept["games"][game][name], set(pairs(game))
    now = compared(there["theirs"], mine(game, some))
    out = []
    for kind, measures in now.items():
        for measure_, (equal, worst) in measures.items():
            if equal < there["rows"] and (kind, measure_) not in may:
                out.append(f"{game}, {name}: {kind}, {measure_}: {equal} of {there['rows']}, off by {worst}")
            elif [equal, worst] != there["equal"][kind][measure_]:
                out.append(f"{game}, {name}: {kind}, {measure_}: {equal}, {worst}; the page says otherwise")
    return out


if __name__ == "__main__":
    sys.exit(main())
