"""Nominal against measured, for every interval and test: ``python -m tests.stats.simulate [--draws N] [--write]``.

``--write`` puts the tables into results/coverage.md. Each row has its own fixed seed, so the same number of draws gives
the same tables.
"""

from __future__ import annotations

import argparse
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from loopkit.stats.contrasts import compare, contrast, minus
from loopkit.stats.dose import trend
from loopkit.stats.mitigation import mitigation
from loopkit.stats.monitors import alarm, threshold
from loopkit.stats.onset import onset
from loopkit.stats.persistence import Pair, persistence
from loopkit.stats.rates import gap, share
from loopkit.stats.seeds import clopper_pearson, mean_over_seeds, one_sided_p, sign_p, smallest_visible
from loopkit.stats.times import catalysis, faster

DRAWS = 2000
DOC = Path(__file__).parents[2] / "results" / "coverage.md"
START, END = "<!-- simulated: python -m tests.stats.simulate --write -->", "<!-- /simulated -->"

Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """One row: ``draw`` makes data and says whether the interval covers (None: withheld) or the test rejects."""

    what: str
    data: str
    size: str
    nominal: str
    """"covers 0.95", "rejects 0.05", or "power 0.80" (no bound but what the docs say)."""
    draw: Callable[[Rng], bool | None]
    holds: bool = True
    """False: simulation shows that it does not, and the docs say what is done about it."""
    cost: int = 1
    """Draws are divided by this."""

    def run(self, draws: int) -> Measured:
        rng = np.random.default_rng(zlib.crc32("/".join((self.what, self.data, self.size)).encode()))
        found = [self.draw(rng) for _ in range(max(1, draws // self.cost))]
        shown = [x for x in found if x is not None]
        return Measured(self, len(found), len(shown), sum(shown))


@dataclass(frozen=True)
class Measured:
    case: Case
    draws: int
    shown: int
    yes: int

    @property
    def rate(self) -> float | None:
        return self.yes / self.shown if self.shown else None

    @property
    def wrong(self) -> float:
        """Share of all draws in which an interval was printed and missed."""
        return (self.shown - self.yes) / self.draws

    def within(self, sigmas: float = 3.0) -> bool:
        """Whether the measured rate is compatible with the nominal one, simulation's own error aside."""
        word, number = self.case.nominal.split()
        level = float(number)
        slack = sigmas * sqrt(level * (1 - level) / max(1, self.draws))
        if word == "covers":
            return self.wrong <= 1 - level + slack
        if word == "rejects":
            return self.rate is not None and self.rate <= level + slack
        return self.rate is not None and abs(self.rate - level) <= slack


# --- data -------------------------------------------------------------------------------------------------------------


def around(rng: Rng, mean: float, s: int, shape: str, side: float = 1.0) -> list[float]:
    """(s,) differences of this mean. "rare": one run in ten goes far to the other side of what would be claimed."""
    if shape == "normal":
        return rng.normal(mean, 0.1, s).tolist()
    if shape == "bimodal":
        return (mean + np.where(rng.random(s) < 0.5, 0.3, -0.3) + rng.normal(0, 0.02, s)).tolist()
    if shape == "rare":
        return (mean + side * np.where(rng.random(s) < 0.1, -0.45, 0.05) + rng.normal(0, 0.01, s)).tolist()
    raise ValueError(shape)


SEEDS: dict[str, tuple[Callable[[Rng, int], Any], float]] = {
    "normal": (lambda r, s: r.normal(0.5, 0.1, s), 0.5),
    "bimodal: 1 in 2 breaks through": (
        lambda r, s: np.where(r.random(s) < 0.5, 0.9, 0.02) + r.normal(0, 0.005, s),
        0.46,
    ),
    "bimodal: 1 in 5": (lambda r, s: np.where(r.random(s) < 0.2, 0.9, 0.02) + r.normal(0, 0.005, s), 0.196),
    "boundary: beta(2, 50)": (lambda r, s: r.beta(2, 50, s), 2 / 52),
    "boundary, skewed: beta(0.5, 20)": (lambda r, s: r.beta(0.5, 20, s), 0.5 / 20.5),
}


def beta_binomial(rng: Rng, groups: int, size: int, p: float, icc: float) -> Any:
    k = (1 - icc) / icc
    return rng.random((groups, size)) < rng.beta(p * k, (1 - p) * k, groups)[:, None]


def ids(n: int, per: int = 1) -> list[str]:
    return [str(i // per) for i in range(n)]


def covers(e: Any, truth: float) -> bool | None:
    return None if e is None or e.low is None else bool(e.low - 1e-12 <= truth <= e.high + 1e-12)


# --- cases ------------------------------------------------------------------------------------------------------------


def intervals() -> Iterator[Case]:
    """Within a run, and counts of seeds."""
    for p in (0.3, 0.01):
        yield Case("share", f"one rollout a prompt, p = {p}", "2000 prompts", "covers 0.95",
                   lambda r, p=p: covers(share((r.random(2000) < p).tolist(), ids(2000)), p), cost=2)  # fmt: skip

    def grouped(r: Rng, p: float) -> bool | None:
        return covers(share(beta_binomial(r, 16, 8, p, 0.5).ravel().tolist(), ids(128, 8)), p)

    for p in (0.3, 0.05):
        yield Case("share", f"groups of 8, correlation 0.5, p = {p}", "16 prompts", "covers 0.95",
                   lambda r, p=p: grouped(r, p))  # fmt: skip

    def pairs(r: Rng, p: float, q: float, n: int) -> bool | None:
        latent = 0.8 * r.normal(size=(n, 1)) + 0.6 * r.normal(size=(n, 2))
        flags = latent < np.array([_normal(p), _normal(q)])
        return covers(gap(flags.ravel().tolist(), [True, False] * n, ids(2 * n, 2)), p - q)

    for p, q in ((0.6, 0.4), (0.95, 0.9)):
        yield Case("gap", f"pairs, correlation 0.6, {p} against {q}", "50 pairs", "covers 0.95",
                   lambda r, p=p, q=q: pairs(r, p, q, 50))  # fmt: skip

    def two(r: Rng, together: float) -> bool | None:
        latent = sqrt(together) * r.normal(size=(200, 1)) + sqrt(1 - together) * r.normal(size=(200, 2))
        flags = latent < np.array([_normal(0.3), _normal(0.2)])
        a, b = (share(flags[:, i].tolist(), ids(200)) for i in (0, 1))
        return covers(minus(a, b), 0.1) if a and b else None

    for together in (0.0, 0.6):
        yield Case("transfer within a run (minus)", f"correlation {together} over prompts", "200 prompts",
                   "covers 0.95", lambda r, t=together: two(r, t))  # fmt: skip

    def counted(r: Rng, s: int, p: float) -> bool:
        low, high = clopper_pearson(int(r.binomial(s, p)), s)
        return low <= p <= high

    for s in (3, 5):
        for p in (0.5, 0.9):
            yield Case("k of S discovered", f"p = {p}", f"S = {s}", "covers 0.95",
                       lambda r, s=s, p=p: counted(r, s, p))  # fmt: skip


def tests() -> Iterator[Case]:
    """Tests: size on the edge of the null."""
    for s in (3, 5):
        for shape in ("normal", "bimodal", "rare"):
            fails = shape == "rare" or (shape == "bimodal" and s == 3)
            yield Case("component test (t)", shape, f"S = {s}", "rejects 0.05",
                       lambda r, s=s, shape=shape: one_sided_p(around(r, 0.1, s, shape), 0.1, "greater") <= 0.05,
                       holds=not fails)  # fmt: skip
    for shape in ("normal", "bimodal"):
        yield Case("sign test (median run)", shape, "S = 5", "rejects 0.05",
                   lambda r, shape=shape: sign_p(around(r, 0.1, 5, shape), 0.1, "greater") <= 0.05)  # fmt: skip

    def trainers(r: Rng, s: int) -> bool:
        common = r.normal(0, 0.1, s)
        arms = {name: (0.5 + common + r.normal(0, 0.1, s)).tolist() for name in "abcd"}
        return any(c.p_adjusted <= 0.05 for c in compare(arms).values() if c.p_adjusted is not None)

    for s in (3, 5):
        yield Case("4 trainers, all pairs, Holm: any false claim", "no difference, normal, seeds shared", f"S = {s}",
                   "rejects 0.05", lambda r, s=s: trainers(r, s), cost=2)  # fmt: skip

    def steps(r: Rng, s: int, share_censored: float) -> list[int | None]:
        return [None if r.random() < share_censored else int(r.integers(5, 40)) for _ in range(s)]

    for s in (3, 5):
        for censored in (0.0, 0.5):
            yield Case("faster (exact permutation)", f"{censored:.0%} censored", f"S = {s}", "rejects 0.05",
                       lambda r, s=s, c=censored: faster(steps(r, s, c), steps(r, s, c), 40).p <= 0.05,
                       cost=2)  # fmt: skip

    def shared(r: Rng, s: int) -> bool:
        level = r.normal(20, 6, s)
        a, b = ([int(np.clip(x, 0, 60)) for x in level + r.normal(0, 6, s)] for _ in range(2))
        return faster(a, b, 60).p <= 0.05

    yield Case("faster (exact permutation)", "runs share seeds, correlation 0.5", "S = 5", "rejects 0.05",
               lambda r: shared(r, 5), cost=2)  # fmt: skip

    def catalysed(r: Rng, s: int, faster_by: float, control_by: float) -> bool:
        def at(mean: float) -> list[int | None]:
            found = r.normal(mean, 4, s)
            return [None if x >= 40 else max(0, int(x)) for x in found]

        rates = {k: [0.1] * s for k in ("after A", "alone", "after control-A")}
        return catalysis(at(30 - faster_by), at(30), at(30 - control_by), 40, rates).name == "catalysed"

    for s in (3, 5):
        yield Case("catalysis", "control-A is as fast as A", f"S = {s}", "rejects 0.05",
                   lambda r, s=s: catalysed(r, s, 20, 20), cost=4)  # fmt: skip

    def doses(r: Rng, s: int, ties: bool, slope: float = 0.0) -> bool:
        level = r.normal(0.4, 0.2, (s, 1))
        rates = np.clip(level + slope * np.linspace(0, 1, 5) + r.normal(0, 0.1, (s, 5)), 0, 1)
        rates = np.where(r.random((s, 5)) < 0.5, 0.0, rates) if ties else rates
        return trend([0, 1, 2, 3, 4], rates.tolist(), "rises").p <= 0.05

    for s in (3, 5):
        for ties in (False, True):
            yield Case("dose trend (Page)", f"no effect, {'half of the rates tied at 0' if ties else 'seeds differ'}",
                       f"S = {s}, 5 doses", "rejects 0.05", lambda r, s=s, t=ties: doses(r, s, t), cost=4)  # fmt: skip

    def persists(r: Rng, s: int, true: float, names: set[str]) -> bool:
        pairs = []
        for _ in range(s):
            rl, sft = 0.4 + true + r.normal(0, 0.05), 0.4 + r.normal(0, 0.05)
            pairs.append(Pair(0.9, 0.9, [rl] * 4, [sft] * 4))
        return persistence(pairs).name in names

    for s in (3, 5):
        yield Case("persistence: more or less", "no difference, normal", f"S = {s}", "rejects 0.05",
                   lambda r, s=s: persists(r, s, 0.0, {"persists more", "persists less"}))  # fmt: skip
        yield Case("persistence: as persistent", "a true difference of 0.1", f"S = {s}", "rejects 0.05",
                   lambda r, s=s: persists(r, s, 0.1, {"as persistent"}))  # fmt: skip


def fixes() -> Iterator[Case]:
    """False verdicts on a mitigation, one contrast on its margin and the others clear. Those on the loophole are in
    ``tests.stats.claimed``."""

    def fixed(
        r: Rng, edge: str, margin: float, side: float, name: str, shape: str, exploit_falls: float = -0.6
    ) -> bool:
        means = {"exploit_vs_loophole": exploit_falls, "exploit_vs_base": 0.0, "task_vs_loophole": 0.05,
                 "task_vs_base": 0.05, "honest_vs_base": 0.05, "x": 0.0, "y": 0.0}  # fmt: skip
        drawn = {k: r.normal(m, 0.02, 5).tolist() for k, m in means.items()}
        for k in edge.split(" and "):
            drawn[k] = around(r, margin, 5, shape, side)
        others = {k: drawn.pop(k) for k in ("x", "y")}
        return mitigation("fix", elsewhere_vs_loophole=others, **drawn).name == name

    for edge, margin, side, name in (
        ("exploit_vs_loophole", -0.1, -1, "closes"), ("exploit_vs_base", 0.1, -1, "closes"),
        ("x", 0.1, -1, "closes"), ("task_vs_base", -0.05, 1, "closes"), ("honest_vs_base", -0.1, 1, "closes"),
        ("x and y", 0.1, 1, "displaces"), ("task_vs_loophole", -0.05, -1, "costs skill"),
        ("honest_vs_base", -0.1, -1, "over-corrects"), ("exploit_vs_loophole", -0.1, 1, "no effect"),
    ):  # fmt: skip
        label = {"x": "one other detector", "x and y": "both other detectors"}.get(edge, edge)
        for shape in ("normal", "bimodal"):
            yield Case(f"mitigation: {name}", f"{label} on its margin, {shape}", "S = 5", "rejects 0.05",
                       lambda r, e=edge, m=margin, d=side, n=name, h=shape: fixed(r, e, m, d, n, h),
                       cost=4)  # fmt: skip


def over_steps() -> Iterator[Case]:
    """Over a run's steps."""

    def false_onset(r: Rng, p: float) -> bool:
        base = share((r.random(2000) < p).tolist(), ids(2000))
        assert base is not None
        assert base.high is not None
        return onset([float(beta_binomial(r, 16, 8, p, 0.5).mean()) for _ in range(60)], base.high) is not None

    for p in (0.02, 0.3):
        yield Case("onset", f"16 groups of 8, correlation 0.5, base {p}", "60 steps", "rejects 0.05",
                   lambda r, p=p: false_onset(r, p), cost=2)  # fmt: skip
    yield Case("onset", "rates 0 or 1, mean on the base's limit", "60 steps", "rejects 0.05",
               lambda r: onset((r.random(60) < 0.1).astype(float).tolist(), 0.1) is not None)  # fmt: skip

    def walk(r: Rng) -> list[float]:
        x = r.normal(0, 1, 40)
        for t in range(1, 40):
            x[t] += 0.8 * x[t - 1]
        return (x + 0.02 * np.arange(40)).tolist()

    for n in (19, 40):
        yield Case("monitor", f"threshold from {n} control runs, AR(0.8) with drift", "40 steps", "rejects 0.05",
                   lambda r, n=n: alarm(walk(r), threshold([walk(r) for _ in range(n)])) is not None,
                   cost=4)  # fmt: skip


def power() -> Iterator[Case]:
    """What the shipped numbers of seeds can show."""
    for s in (3, 5):
        shift = smallest_visible(_unit(s))
        yield Case("component test (t)", f"{shift:.2f} sd beyond its margin", f"S = {s}", "power 0.80",
                   lambda r, s=s, d=shift: one_sided_p(r.normal(d, 1.0, s).tolist(), 0.0, "greater") <= 0.05
                   )  # fmt: skip
        reach = smallest_visible(_unit(s), alpha=0.025)
        yield Case("contrast, two-sided", f"{reach:.2f} sd", f"S = {s}", "power 0.80",
                   lambda r, s=s, d=reach: contrast(r.normal(d, 1.0, s).tolist(), [0.0] * s).p <= 0.05)  # fmt: skip


def _unit(s: int) -> list[float]:
    """(s,) values of standard deviation 1."""
    x = np.arange(s, dtype=float)
    return (x / x.std(ddof=1)).tolist()


def _normal(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


def cases() -> list[Case]:
    return [*intervals(), *tests(), *fixes(), *over_steps(), *power()]


def seed_cases() -> list[Case]:
    """The t interval over seeds as printed, on the shapes that seeds take."""

    def printed(r: Rng, s: int, name: str) -> bool | None:
        draw, truth = SEEDS[name]
        return covers(mean_over_seeds(np.clip(draw(r, s), 0, 1).tolist(), (0.0, 1.0)), truth)

    fails = {("bimodal: 1 in 5", 5), ("bimodal: 1 in 5", 8), *((name, 8) for name in SEEDS if "boundary" in name),
             ("boundary: beta(2, 50)", 5)}  # fmt: skip
    return [
        Case("mean over seeds", name, f"S = {s}", "covers 0.95", lambda r, s=s, name=name: printed(r, s, name),
             holds=(name, s) not in fails)
        for name in SEEDS
        for s in (3, 5, 8)
    ]  # fmt: skip


def plain_coverage(name: str, s: int, draws: int) -> float:
    """Coverage of the t interval were it always printed."""
    from scipy import stats

    draw, truth = SEEDS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    x = np.array([draw(rng, s) for _ in range(draws)])
    half = stats.t.ppf(0.975, s - 1) * x.std(1, ddof=1) / sqrt(s)
    return float((abs(x.mean(1) - truth) <= half).mean())


# --- the tables -------------------------------------------------------------------------------------------------------


def tables(draws: int) -> str:
    """Both tables in Markdown."""
    out = [
        f"Simulated with {draws:,} draws a row, half or a quarter of it where dear: standard error near 0.05 "
        f"{sqrt(0.0475 / draws):.3f}, {sqrt(0.095 / draws):.3f}, {sqrt(0.19 / draws):.3f}. "
        '"Fails": beyond its nominal value by more than three standard errors.',
        "",
        "| mean over seeds: data | S | t, always printed, covers | withheld | printed and wrong (nominal 0.05) |",
        "|---|---|---|---|---|",
    ]
    for case in seed_cases():
        m, s = case.run(draws), int(case.size.split()[-1])
        plain = plain_coverage(case.data, s, draws)
        out.append(f"| {case.data} | {s} | {plain:.3f} | {1 - m.shown / m.draws:.2f} | {m.wrong:.3f}{_mark(m)} |")
    out += ["", "| interval or test | data | size | nominal | measured |", "|---|---|---|---|---|"]
    for case in cases():
        m = case.run(draws)
        assert m.rate is not None
        out.append(f"| {case.what} | {case.data} | {case.size} | {case.nominal} | {m.rate:.3f}{_mark(m)} |")
    return "\n".join(out)


def _mark(m: Measured) -> str:
    return "" if m.within() else " (fails)"


def written() -> str:
    """What stands in the docs."""
    text = DOC.read_text()
    found = re.search(re.escape(START) + r"\n\n(.*?)\n\n" + re.escape(END), text, re.S)
    assert found, f"{DOC} lacks {START} ... {END}"
    return found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--write", action="store_true", help="put the tables into results/coverage.md")
    options = parser.parse_args()
    began = time.process_time()
    text = tables(options.draws)
    print(text)
    print(f"\n{time.process_time() - began:.0f} CPU s")
    if options.write:
        before, after = DOC.read_text().split(START)[0], DOC.read_text().split(END)[1]
        DOC.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
