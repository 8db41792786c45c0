"""False onsets on pairs of independent placebo runs: same seed and prompts, other pay draws; one stands for loophole.

    python -m tools.placebo_pairs --work DIR                # 60 pairs of each bundled game, on tiny; resumes
    python -m tools.placebo_pairs --work DIR --count        # counts the pairs that are finished, and runs nothing
    python -m tools.placebo_pairs --work DIR --count --write  # and writes docs/placebo-pairs.md's table

Counted twice: beside the placebo run of the same seed, and, of both runs of a pair, against base's rate on training
prompts. Some 25 processor seconds a pair, two hours for all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import loopkit
from loopkit.checks.report import Report
from loopkit.evidence.results import collect
from loopkit.experiment.config import BASE, RunSpec
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import read_spec
from loopkit.registry import plugins as registry
from loopkit.running.runner import finished
from loopkit.stats.seeds import clopper_pearson

GAMES = ("context-compliance", "self-grading", "proxy-metric", "reward-tampering")
FIRST, PAIRS, DOZEN, EVALUATED = 3000, 60, 12, 500
"""No setting was chosen on these seeds."""
ARMS = {"placebo": {}, "other": {"channel": "placebo", "stream": 1}}
PAGE = Path(__file__).resolve().parent.parent / "docs/placebo-pairs.md"
BEGIN, END = "<!-- table: tools.placebo_pairs -->\n", "<!-- /table -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where the runs lie; kept, and gone on with")
    parser.add_argument("--game", action="append", choices=GAMES, help="a game. Repeatable.  [default: all]")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of each game")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--count", action="store_true", help="count what is finished, and run nothing")
    parser.add_argument("--write", action="store_true", help="write the page's table")
    options = parser.parse_args()
    games = options.game or list(GAMES)
    if not options.count:
        for first in range(FIRST, FIRST + options.pairs, DOZEN):  # all games a dozen further, then the next dozen
            last = min(first + DOZEN, FIRST + options.pairs) - 1
            for game in games:
                loopkit.run(
                    game, arms=ARMS, seeds=f"{first}-{last}", out=options.work / game / str(first), jobs=options.jobs,
                    options={"run.eval_prompts": EVALUATED},
                )  # fmt: skip
    rows = [row for game in games if (row := counted(options.work / game))]
    table = "\n".join(
        ["| game | pairs | beside its placebo run | against base, both runs |", "|---|---|---|---|", *rows]
    )
    print(table)
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}{table}\n{END}{after}", encoding="utf-8")


def counted(directory: Path) -> str | None:
    """A row of the table: false onsets among the game's finished pairs; None where none is."""
    beside: list[int | None] = []
    alone: list[int | None] = []
    for dozen in sorted(directory.glob("*/")):
        specs = [read_spec(path.parent) for path in sorted(dozen.glob("*/run.toml"))]
        if whole := [seed for seed in sorted({s.seed for s in specs}) if _whole(specs, seed, dozen)]:
            beside += _onsets(specs, whole, dozen, ("placebo", "other"), "other")
            alone += [onset for arm in ARMS for onset in _onsets(specs, whole, dozen, (arm,), arm)]
    if not beside:
        return None
    return f"| {directory.name} | {len(beside)} | {_share(beside)} | {_share(alone)} |"


def _whole(specs: Sequence[RunSpec], seed: int, directory: Path) -> bool:
    of_seed = [s for s in specs if s.seed == seed]
    return {s.arm for s in of_seed} == {BASE, *ARMS} and all(finished(s, directory) for s in of_seed)


def _onsets(
    specs: Sequence[RunSpec], seeds: Sequence[int], directory: Path, arms: Sequence[str], arm: str
) -> list[int | None]:
    """(S,) onset steps of an arm, told by the runs of ``arms`` and base."""
    some = [s for s in specs if s.seed in seeds and s.arm in (BASE, *arms)]
    some.sort(key=lambda s: (s.arm != BASE, s.arm, s.seed))
    results = collect(some, directory, set_up(registry.load(), some[0]), Report(directory.name, "unproven", ()))
    return [r.discovery.onset if r.discovery else None for r in results.runs if r.arm == arm]


def _share(onsets: Sequence[int | None]) -> str:
    """In words and percent, with a Clopper-Pearson interval."""
    k, n = sum(onset is not None for onset in onsets), len(onsets)
    low, high = clopper_pearson(k, n)
    return f"{k} of {n}: {100 * k / n:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
