"""Claims over seeds: tests against margins, ordered rows of tests that must all be shown, families under Holm.

A verdict is a table of data over this engine. Every input is a difference per seed, (S,), paired by seed; shares are
in [-1, 1] (0.1 is 10 points).

A test is *shown* if the t test over seeds rejects at ALPHA, and so does the sign test of the seeds on its side of the
margin; a row is claimed if all its tests are shown, and the sign test rejects for the seeds that lie on the side of
*all* of them. What is claimed is that *most seeds* show it: the null is that at most half do, and then so many of them
do with a binomial chance, whatever the distribution. 5 of 5 (0.031), 7 of 8 (0.035) and 9 of 10 (0.011) are enough;
below 5 no count is, nothing is tested, and a pattern is described: that every seed lies so. A seed that was not
measured counts against it. A claim needs no correction for the number of its tests (intersection-union: Berger,
Technometrics 1982); its error rate holds for each name, not jointly for all. Where any member of a family may make the
claim, the t tests' p-values are adjusted (Holm). The t test alone speaks of the mean, and errs where few seeds fall far
(results/simulations.md): *on average* is claimed where all of AVERAGE_FROM seeds or more show it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from loopkit.errors import UsageError
from loopkit.records import Estimate
from loopkit.stats import seeds
from loopkit.stats.contrasts import holm

ALPHA = 0.05
AVERAGE_FROM = 29
"""Seeds of which all must show a claim for it to hold on average too: where one in ten falls far, 29 miss it with
chance 0.05."""
PATTERN = "pattern: "

Side = Literal["greater", "less"]


class MarginTest(NamedTuple):
    """One test of a contrast's mean against a margin, one-sided unless ``two_sided`` (then p is doubled)."""

    contrast: str
    side: Side
    margin: float
    two_sided: bool = False
    bounds: tuple[float, float] | None = (-1.0, 1.0)
    """Of the differences; None: a reward, on any scale."""


Row = tuple[str, tuple[str, ...]]
"""(claim, the tests or families that must all be shown)."""
Families = Mapping[str, Mapping[str, Sequence[str]]]
"""Family -> member -> the tests that must all hold for the member. The family is shown where any member is."""


@dataclass(frozen=True, slots=True)
class Component:
    """One test: the mean difference with its interval, and what speaks for its side of the margin."""

    estimate: Estimate
    p: float | None
    """Of the t test (``seeds.one_sided_p``); None where there are too few seeds to test."""
    seen: tuple[bool, ...]
    """(S,) whether the seed lies on its side of the margin."""
    shown: bool
    smallest_visible: float | None
    """Its power: the distance beyond its margin that this many seeds would have shown with chance 0.8."""

    @property
    def beyond(self) -> int:
        """Seeds on its side of the margin."""
        return sum(self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What was claimed over ``seeds`` runs, with all it rests on."""

    name: str
    """A row's; "pattern: ROW" where there are too few seeds to test."""
    p: float | None
    """The largest p-value of the claim: its t tests' (Holm's of a family), and that of "most seeds"; None: no claim."""
    reach: float | None
    """The weakest power among its tests (of all where nothing is claimed): see ``Component.smallest_visible``."""
    reason: str
    """Why nothing is claimed; else empty."""
    seeds: int
    missing: int
    """Seeds that were not measured; they count against the claim."""
    agree: int
    """Seeds that lie on the side of every test of the claim; all of them where nothing is claimed."""
    components: Mapping[str, Component]
    """By test; those whose contrast was not given are absent."""
    unseen: float
    """The share of runs that may go another way, given how many of these did (``seeds.unseen``)."""

    @property
    def descriptive(self) -> bool:
        """Too few seeds to test: a pattern is described."""
        return most(self.seeds, self.seeds + self.missing) > ALPHA

    @property
    def row(self) -> str:
        """The row that fits, tested or not."""
        return self.name.removeprefix(PATTERN)

    @property
    def head(self) -> str:
        """The name as a sentence writes it."""
        return self.row if self.name == self.row else f"pattern of '{self.row}'"

    def shown(self, test: str) -> bool:
        return test in self.components and self.components[test].shown

    def moved(self, test: str) -> str:
        """The test's mean difference, in words."""
        return signed(self.components[test].estimate)

    def basis(self) -> str:
        return basis(self.seeds, self.p, self.reach, self.missing, self.agree)


@dataclass(frozen=True, slots=True)
class Judged:
    """The first row that fits, and every test."""

    row: str
    rests: tuple[Component, ...]
    """The tests of the row; of a family, its best member. Empty where nothing is claimed."""
    seeds: int
    missing: int
    agree: int
    """Seeds on the side of all tests of the row; of a family, of any member that is shown. All, where it has none."""
    components: Mapping[str, Component]
    members: Mapping[str, Mapping[str, Component]]
    """Family -> member -> its weakest test, adjusted by Holm."""
    facts: Mapping[str, bool]

    @property
    def descriptive(self) -> bool:
        return most(self.seeds, self.seeds + self.missing) > ALPHA

    @property
    def unseen(self) -> float:
        return seeds.unseen(self.seeds + self.missing, others=self.seeds + self.missing - self.agree)

    @property
    def name(self) -> str:
        return PATTERN + self.row if self.rests and self.descriptive else self.row

    @property
    def p(self) -> float | None:
        if not self.rests or self.descriptive:
            return None
        return max([most(self.agree, self.seeds + self.missing), *(c.p for c in self.rests if c.p is not None)])

    def reach(self, otherwise: Iterable[str]) -> float | None:
        """The weakest power among the row's tests, or among those named ``otherwise`` where nothing is claimed."""
        tests = self.rests or [self.components[t] for t in otherwise if t in self.components]
        return max((c.smallest_visible for c in tests if c.smallest_visible is not None), default=None)

    def shown(self, test: str) -> bool:
        """Whether a test, any member of a family, or a fact is shown."""
        if test in self.facts:
            return self.facts[test]
        if test in self.members:
            return bool(self.risen(test))
        return test in self.components and self.components[test].shown

    def fits(self, needs: Sequence[str]) -> bool:
        """Whether a row's tests are all shown, and together by enough seeds."""
        agree = self.agreeing(needs)
        enough = agree == self.seeds if self.descriptive else most(agree, self.seeds + self.missing) <= ALPHA
        return all(self.shown(test) for test in needs) and (enough or not needs)

    def agreeing(self, needs: Sequence[str]) -> int:
        """Seeds on the side of all of a row's tests; of a family, of any member that is shown."""
        seen = [True] * self.seeds
        for test in needs:
            if test in self.members:
                risen = [self.members[test][member].seen for member in self.risen(test)]
                seen = [s and any(flags[i] for flags in risen) for i, s in enumerate(seen)]
            elif test in self.components:
                seen = [s and flag for s, flag in zip(seen, self.components[test].seen, strict=True)]
        return sum(seen)

    def risen(self, family: str) -> list[str]:
        """The members of a family that are shown."""
        return [member for member, c in self.members[family].items() if c.shown]

    def state(self, rows: Sequence[Row]) -> str:
        """The first of other rows that fits, as the reason of a claim that is not made."""
        return first(rows, self.shown)[0]


def most(k: int, n: int) -> float:
    """p of "most seeds show it" where ``k`` of ``n`` do, those that are missing among the others.

    The sign test: the chance of so many or more if half of all seeds showed it, 0.5^n where all do.
    """
    from scipy import stats

    return float(stats.binom.sf(k - 1, n, 0.5))


def first(rows: Sequence[Row], shown: Callable[[str], bool]) -> Row:
    """The first row whose tests are all shown. The last must need none, so that every outcome has one row."""
    return next(row for row in rows if all(shown(test) for test in row[1]))


def component(differences: Sequence[float], test: MarginTest, *, missing: int = 0, refused: bool = False) -> Component:
    """One test of (S,) differences; ``missing``: seeds without one; ``refused``: it cannot be shown at this base."""
    _, side, margin, two_sided, bounds = test
    times = 2 if two_sided else 1
    n = len(differences) + missing
    tested = most(len(differences), n) <= ALPHA
    p = min(1.0, times * seeds.one_sided_p(differences, margin, side)) if tested else None
    seen = tuple(d > margin if side == "greater" else d < margin for d in differences)
    visible = seeds.smallest_visible(differences, ALPHA / times)
    return Component(seeds.mean_over_seeds(differences, bounds), p, seen, _shown(seen, n, p) and not refused, visible)


def _shown(seen: Sequence[bool], n: int, p: float | None) -> bool:
    """By the seeds ``seen`` on one side, of n with those that are missing, and p of the t test; None: no test."""
    return all(seen) if p is None else p <= ALPHA and most(sum(seen), n) <= ALPHA


def judge(
    rows: Sequence[Row],
    tests: Mapping[str, MarginTest],
    contrasts: Mapping[str, Sequence[float] | None],
    families: Families | None = None,
    *,
    optional: Collection[str] = (),
    refused: Collection[str] = (),
    facts: Mapping[str, bool] | None = None,
    missing: int = 0,
) -> Judged:
    """The first of ``rows`` whose tests are all shown by (S,) differences paired by seed.

    A test whose contrast is not given (None) is not shown, unless it is ``optional``; one that is ``refused`` never is.
    ``facts``: what else rows may name, known from elsewhere. ``missing``: seeds that were not measured. Raises
    UsageError of no seed, and of contrasts that are not as many of each.
    """
    measured = {name: values for name, values in contrasts.items() if values is not None}
    sizes = {len(values) for values in measured.values()}
    if len(sizes) > 1:
        raise UsageError("Differences are paired by seed: give as many of each. Leave out seeds that lack an arm.")
    if sizes <= {0}:
        raise UsageError("There is no seed to estimate from. Finish at least one run.")
    s = sizes.pop()
    components = {
        name: component(measured[test.contrast], test, missing=missing, refused=name in refused)
        for name, test in tests.items()
        if test.contrast in measured
    }
    members = {name: _adjusted(family, components, s + missing) for name, family in (families or {}).items()}
    known = {**{test: True for test in optional if test not in components}, **(facts or {})}
    judged = Judged("", (), s, missing, s, components, members, known)
    row, needs = next(row for row in rows if judged.fits(row[1]))
    best = [max(members[t].values(), key=_strength) if t in members else components.get(t) for t in needs]
    return replace(judged, row=row, rests=tuple(c for c in best if c), agree=judged.agreeing(needs))


def _strength(c: Component) -> tuple[bool, float]:
    return c.shown, -(c.p or 0.0)


def _adjusted(family: Mapping[str, Sequence[str]], components: Mapping[str, Component], n: int) -> dict[str, Component]:
    """Member -> its first test's estimate and power, with the largest p-value of all its tests, Holm's.

    Most seeds must lie on its side of all of them; that needs no correction, since they then show *some* member.
    """
    parts = {member: [components[test] for test in tests] for member, tests in family.items()}
    largest = {member: max((c.p for c in tests if c.p is not None), default=None) for member, tests in parts.items()}
    adjusted = iter(holm([p for p in largest.values() if p is not None]))
    out = {}
    for member, tests in parts.items():
        p = None if largest[member] is None else next(adjusted)
        seen = tuple(map(all, zip(*(c.seen for c in tests), strict=True)))
        out[member] = Component(tests[0].estimate, p, seen, _shown(seen, n, p), tests[0].smallest_visible)
    return out


# --- words ------------------------------------------------------------------------------------------------------------


def basis(runs: int, p: float | None, reach: float | None, missing: int = 0, agree: int | None = None) -> str:
    """What a claim rests on, for its sentence: seeds, p-value, what is left open; power where nothing is claimed.

    ``agree``: of ``runs`` seeds, those that show the claim; default: all.
    """
    of = f"{runs} seed{'s' * (runs != 1)}" + (f" of {runs + missing}, the others lack a rate" if missing else "")
    if most(runs, runs + missing) > ALPHA:
        return f"{of}: no test"
    if p is None:
        return of + (f", power 0.8 from {100 * reach:.1f} points beyond a margin" if reach is not None else "")
    agree = runs if agree is None else agree
    every = agree == runs and not missing
    average = "and on average" if every and runs >= AVERAGE_FROM else "nothing on average"
    if every and runs < AVERAGE_FROM:
        average += f" below {AVERAGE_FROM} seeds"
    so = "every one so" if agree == runs else f"{agree} of them so"
    left = seeds.unseen(runs + missing, others=runs + missing - agree)
    open_ = f"another outcome in up to {100 * left:.0f} % of seeds is not excluded"
    return f"in most seeds, {average}: {of}, {so}, {p_value(p)}; {open_}"


def small(p: float | None) -> str:
    """A p-value for a table: ``0.022``; ``< 0.001``, since no p-value is 0; ``-`` for none."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_value(p: float) -> str:
    """A p-value for a sentence: ``p = 0.022``, ``p < 0.001``."""
    return f"p {'' if p < 0.001 else '= '}{small(p)}"


def signed(estimate: Estimate) -> str:
    """A difference for a sentence: ``+8.3 points``."""
    return f"{round(100 * estimate.value, 1) + 0.0:+.1f} points"  # + 0.0: minus nothing is nothing
