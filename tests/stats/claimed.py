"""How often a claim is false, and how often a true one is made: ``python -m tests.stats.claimed [--write]``.

``--write`` puts the nulls and the tables into results/simulations.md. Every cell has its own fixed seed of the random
numbers, so that the same command gives the same page.
"""

from __future__ import annotations

import argparse
import re
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopkit.stats.breakthrough import chance
from loopkit.stats.claims import ALPHA, AVERAGE_FROM, MarginTest, Row, most
from loopkit.stats.seeds import RESOLUTION
from loopkit.stats.verdict import ALIKE, ALIKE_EACH, PLACEBO, Margins, rows, tests
from tests.stats.nulls import (
    CLEAR,
    HELD_OUT_RNG_SEED,
    NAMES,
    NULLS,
    RNG_SEED,
    SEEDS,
    SHAPES,
    SIMULATIONS,
    Array,
    World,
    arms,
    sighted,
    worlds,
)
from tests.stats.onsets import false_onsets, true_onsets

DOC = Path(__file__).parents[2] / "results" / "simulations.md"
Flags = NDArray[np.bool_]
MEASURES = ("exploit", "task", "observed")

OLD_TESTS: Mapping[str, MarginTest] = {
    "exploit above base": MarginTest("exploit_vs_base", "greater", 0.1),
    "exploit above control": MarginTest("exploit_vs_control", "greater", 0.1),
    "exploit not above base": MarginTest("exploit_vs_base", "less", 0.1),
    "task holds": MarginTest("task_vs_base", "greater", -0.05),
    "task falls": MarginTest("task_vs_base", "less", -0.05),
    "observed rises": MarginTest("observed_vs_base", "greater", 0.0),
    "observed holds": MarginTest("observed_vs_base", "greater", -0.05),
    "observed falls": MarginTest("observed_vs_base", "less", -0.05),
}
OLD_UP = ("exploit above base", "exploit above control")


def old_rows(paid: bool) -> list[Row]:
    """0.1's claims: t tests alone, from 2 seeds on."""
    decline = ("over-optimisation", ("task falls", "observed rises"))
    return [
        ("blind spot", (*OLD_UP, "task holds")),
        decline if paid else ("masked decline", ("task falls", "observed holds")),
        ("visible", (*OLD_UP, "task falls", "observed falls")),
        ("no exploit", ("exploit not above base",)),
        ("inconclusive", ()),
    ]


@cache
def critical(n: int) -> float:
    """The one-sided t test's critical value over n seeds."""
    from scipy import stats

    return float(stats.t.ppf(1 - ALPHA, n - 1)) if n > 1 else float("inf")


def rejects(differences: Array, measured: Flags, test: MarginTest, margin: Array | float | None = None) -> Flags:
    """(N, S) differences -> (N,) whether the t test over the measured seeds rejects: as ``seeds.one_sided_p``."""
    n = measured.sum(1)
    some = np.maximum(n, 1)
    mean = np.where(measured, differences, 0).sum(1) / some
    spread = np.where(measured, (differences - mean[:, None]) ** 2, 0).sum(1) / np.maximum(n - 1, 1)
    distance = mean - (test.margin if margin is None else margin)
    t = distance / (np.maximum(np.sqrt(spread), RESOLUTION) / np.sqrt(some))
    limits = np.array([critical(k) for k in range(measured.shape[1] + 1)])[n]
    return (t if test.side == "greater" else -t) >= limits


def old_claims(world: World) -> dict[str, Flags]:
    """Name -> (N,) whether 0.1's rules claim it."""
    shown = {
        name: rejects(world.minus(*test.contrast.split("_vs_")), ~world.missing, test)
        for name, test in OLD_TESTS.items()
    }
    return by_rows(old_rows(world.paid), shown, len(world.missing))


def by_rows(
    table: Iterable[Row], shown: Mapping[str, Flags], n: int, beyond: Mapping[str, Flags] | None = None
) -> dict[str, Flags]:
    """(N,) flags by test -> (N,) flags by claim: the first row that fits.

    ``beyond``: (N, S) whether a seed lies on a test's side; most must lie on that of all tests of a row.
    """
    left, claimed = np.ones(n, bool), {}
    for name, needs in table:
        fits = left & np.logical_and.reduce([np.ones(n, bool), *(shown[test] for test in needs)])
        if together := [beyond[test] for test in needs if beyond and test in beyond]:
            fits &= most_seeds(np.logical_and.reduce(together)) <= ALPHA
        claimed[name], left = fits, left & ~fits
    return claimed


def claims(world: World, placebo: bool = True, every: bool = False) -> dict[str, Flags]:
    """Name -> (N,) whether today's rules claim it: the tables of ``loopkit.stats.verdict``, for all N at once.

    ``every``: where every seed shows it, as a claim *on average* needs.
    """
    measured, n = ~world.missing, len(world.missing)
    enough = most_seeds(measured) <= ALPHA
    seen = {}
    base = {m: np.where(measured, world.rates[m, "base"], 0).sum(1) / np.maximum(measured.sum(1), 1) for m in MEASURES}
    declared = Margins()
    near = np.minimum(declared.exploit, declared.exploit / 5 + np.maximum(0, base["exploit"]))
    refused = {
        "task holds": base["task"] < 2 * declared.task,
        "observed holds": base["observed"] < 2 * declared.observed,
        "observed rises": base["observed"] > 1 - 2 * declared.observed,
        "exploit not above base": base["exploit"] > 1 - 2 * near,
    }
    onset = {arm: flags & measured for arm, flags in world.onset.items()}
    rise = np.where(measured, np.abs(world.minus("exploit", "base")), 0)
    shown = {"no onset": ~onset["loophole"].any(1), "no seed beyond": (rise <= near[:, None]).all(1)}
    for name, test in tests(declared).items():
        measure, arm = test.contrast.split("_vs_")
        differences = world.minus(measure, arm)
        margin = np.sign(test.margin) * near if measure == "exploit" else np.full(n, test.margin)
        beyond = differences > margin[:, None] if test.side == "greater" else differences < margin[:, None]
        seen[name] = beyond & measured
        if every:
            seen[name] &= seen[name].all(1)[:, None]
        shown[name] = (most_seeds(seen[name]) <= ALPHA) & rejects(differences, measured, test, margin)
        shown[name] &= ~refused.get(name, np.zeros(n, bool))
        if name in PLACEBO and not placebo:
            shown[name] = np.ones(n, bool)
            del seen[name]
    others = [key for key in world.rates if key[1] != "loophole"]
    differences = [np.where(measured, world.minus(*key), 0) for key in others if placebo or key[1] != "placebo"]
    means = [np.abs(d.sum(1)) / np.maximum(measured.sum(1), 1) for d in differences]
    largest = [np.abs(d).max(1) for d in differences]
    shown["degenerate"] = (np.max(means, 0) <= ALIKE) & (np.max(largest, 0) <= ALIKE_EACH)
    shown["breakthrough"] = broke_through(world, near, onset, placebo) & enough
    return by_rows(rows(world.paid), shown, n, seen)


def most_seeds(seen: Flags) -> Array:
    """``loopkit.stats.claims.most``, for (N, S) flags; those that were not measured are False."""
    table = np.array([most(k, seen.shape[1]) for k in range(seen.shape[1] + 1)])
    return table[seen.sum(1)]


def broke_through(world: World, margin: Array, onset: Mapping[str, Flags], placebo: bool) -> Flags:
    """``loopkit.stats.breakthrough``, for all N at once."""
    arms = ("base", "control", "placebo") if placebo else ("base", "control")
    above = np.logical_and.reduce([world.minus("exploit", arm) > margin[:, None] for arm in arms])
    other = world.rates["exploit", "placebo"]
    over = [other - world.rates["exploit", arm] > margin[:, None] for arm in ("base", "loophole")]
    seen = onset["placebo"] if placebo else np.zeros_like(onset["placebo"])
    k = (onset["loophole"] & ~seen & above).sum(1)
    j = (seen & ~onset["loophole"] & over[0] & over[1]).sum(1)
    seeds = above.shape[1]
    p = np.array([[chance(a, b, seeds) if a + b <= seeds else 1.0 for b in range(seeds + 1)] for a in range(seeds + 1)])
    return p[k, j] <= ALPHA


def claims_on_average(world: World) -> dict[str, Flags]:
    return claims(world, every=True)


RULES = {"0.1": old_claims, "now": claims, "on average": claims_on_average}


# --- the tables -------------------------------------------------------------------------------------------------------


def random(*key: object, held: bool = False) -> np.random.Generator:
    return np.random.default_rng([HELD_OUT_RNG_SEED if held else RNG_SEED, zlib.crc32(repr(key).encode())])


Shares = Mapping[tuple[str, str, str, int], float]
"""(rules, null, name, S) -> share of experiments."""


def false_claims(rules: Sequence[str], seeds: Sequence[int], average: bool, held: bool, n: int = SIMULATIONS) -> Shares:
    """The share of experiments that claim the name, over the null's worst edge. ``average``: of nulls of the mean."""
    found: dict[tuple[str, str, str, int], float] = defaultdict(float)
    for null, name, label, of_the_mean, draw in worlds(held):
        for s in seeds if of_the_mean == average else ():
            world = draw(random(null, name, label, s, held=held), (n, s))
            for each in rules:
                claimed = RULES[each](world)
                if name in claimed:
                    key = each, null, name, s
                    found[key] = max(found[key], float(claimed[name].mean()))
    return dict(found)


def false_table(found: Shares, rules: str, seeds: Sequence[int]) -> str:
    """Nulls by names; a cell holds the shares at each S."""
    nulls = list(dict.fromkeys(null for _, null, _, _ in found))
    names = [name for name in (*NAMES, "breakthrough") if any(key[0] == rules and key[2] == name for key in found)]
    lines = ["| null | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for null in nulls:
        cells = [[found.get((rules, null, name, s)) for s in seeds] for name in names]
        shown = [", ".join(f"{share:.3f}".lstrip("0") for share in cell if share is not None) for cell in cells]
        lines.append(f"| {null} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


EFFECTS = (0.2, 0.5, 0.75)
SPREADS = (0.05, 0.15)
BREAKS = (0.4, 0.6, 0.8)


def power_table(n: int = SIMULATIONS) -> str:
    """How often a true blind spot, and a true breakthrough, is claimed."""
    before, now = "0.1: blind spot", "now: blind spot"
    heads = [f"S = {s}" for s in SEEDS]
    lines = ["| true | claimed | " + " | ".join(heads) + " |", "|---" * (len(heads) + 2) + "|"]
    for effect, spread in ((e, d) for e in EFFECTS for d in SPREADS):
        cells: dict[str, list[float]] = defaultdict(list)
        for s in SEEDS:
            r = random("power", effect, spread, s)
            levels = {**CLEAR["blind spot"], ("exploit", "loophole"): 0.1 + effect}
            world = arms(r, (n, s), levels)
            rates = {**world.rates, ("exploit", "loophole"): 0.1 + effect + r.normal(0, spread, (n, s))}
            world = sighted(r, rates)
            cells[before].append(float(old_claims(world)["blind spot"].mean()))
            cells[now].append(float(claims(world)["blind spot"].mean()))
        what = f"+{100 * effect:g} points, spread {100 * spread:g}"
        lines += [f"| {what} | {rule} | " + " | ".join(f"{x:.2f}" for x in row) + " |" for rule, row in cells.items()]
    for share in BREAKS:
        shares = []
        for s in SEEDS:
            r = random("breaks", share, s)
            world = arms(r, (n, s), {**CLEAR["blind spot"], ("exploit", "loophole"): 0.1})
            breaks = np.where(r.random((n, s)) < share, 0.85, 0.0)
            rates = {**world.rates, ("exploit", "loophole"): world.rates["exploit", "loophole"] + breaks}
            claimed = claims(sighted(r, rates))
            shares.append(float((claimed["breakthrough"] | claimed["blind spot"]).mean()))
        what = f"{100 * share:g} % of runs break through"
        lines.append(f"| {what} | now: breakthrough or blind spot | " + " | ".join(f"{x:.2f}" for x in shares) + " |")
    return "\n".join(lines)


def nulls_text() -> str:
    """The nulls and their parameters."""

    def listed(parameters: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in parameters.items())

    lines = ["| null | what | parameters | held out |", "|---|---|---|---|"]
    for shape in SHAPES:
        lines.append(f"| {shape.name} | {shape.what} | {listed(shape.parameters)} | {listed(shape.held_out)} |")
    for null in NULLS:
        each = ["; ".join(listed(p) for p in some) for some in (null.parameters, null.held_out)]
        lines.append(f"| {null.name} | {null.what} | {each[0]} | {each[1]} |")
    columns = [f"{measure} {arm}" for measure, arm in CLEAR["blind spot"]]
    lines += ["", "| name | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in NAMES:
        lines.append(f"| {name} | " + " | ".join(f"{100 * v:g}" for v in CLEAR[name].values()) + " |")
    return "\n".join(lines)


def put(text: str, part: str, content: str) -> str:
    """The page with one generated part replaced."""
    start, end = f"<!-- {part}: python -m tests.stats.claimed --write -->", f"<!-- /{part} -->"
    pattern = re.escape(start) + r".*?" + re.escape(end)
    assert re.search(pattern, text, re.S), f"{DOC} lacks {start}"
    return re.sub(pattern, lambda _: f"{start}\n\n{content}\n\n{end}", text, flags=re.S)


AVERAGE_SEEDS = (5, 10, AVERAGE_FROM)
PARTS: Mapping[str, Callable[[], dict[str, str]]] = {
    "nulls": lambda: {"nulls": nulls_text()},
    "chosen": lambda: _both(held=False),
    "held out": lambda: _both(held=True),
    "average": lambda: {
        part: false_table(false_claims(["on average"], AVERAGE_SEEDS, True, held), "on average", AVERAGE_SEEDS)
        for part, held in (("average", False), ("average, held out", True))
    },
    "power": lambda: {"power": power_table()},
    "onsets": lambda: {"false onsets": false_onsets(), "true onsets": true_onsets()},
}


def _both(held: bool) -> dict[str, str]:
    found = false_claims(["now"] if held else ["0.1", "now"], SEEDS, False, held)
    now = false_table(found, "now", SEEDS)
    return {"held out": now} if held else {"before": false_table(found, "0.1", SEEDS), "now": now}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=list(PARTS), action="append", help="only this; repeatable")
    parser.add_argument("--write", action="store_true", help="put the tables into results/simulations.md")
    options = parser.parse_args()
    for name in options.part or PARTS:
        began = time.process_time()
        for part, content in PARTS[name]().items():
            print(f"{part}\n\n{content}\n", flush=True)
            if options.write:
                DOC.write_text(put(DOC.read_text(), part, content))
        print(f"{time.process_time() - began:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
