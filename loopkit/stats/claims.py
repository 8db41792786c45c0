"""Claims over seeds: tests against margins, ordered rows of tests that must all be shown, families under Holm.

A verdict is a table of data over this engine. Every input is a difference per seed, (S,), paired by seed; shares are
in [-1, 1] (0.1 is 10 points).

A test is *shown* if the t test over seeds rejects at ALPHA and every seed lies on its side of the margin; a row is
claimed if all its tests are shown. What is claimed is that *most seeds* show it: the null is that at most half do, and
then all S of them lie on its side with chance 0.5^S at most, whatever the distribution. That is 0.031 at 5 seeds, and
too much below, where nothing is tested and a pattern is described. A seed that was not measured counts against it. A
claim needs no correction for the number of its tests (intersection-union: Berger, Technometrics 1982); its error rate
holds for each name, not jointly for all. Where any member of a family may make the claim, the t tests' p-values are
adjusted (Holm). The t test alone speaks of the mean, and errs where few seeds fall far (docs/simulations.md): *on
average* is claimed from AVERAGE_FROM seeds only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from loopkit.errors import UsageError
from loopkit.records import Estimate
from loopkit.stats import seeds
from loopkit.stats.contrasts import holm

ALPHA = 0.05
AVERAGE_FROM = 29
"""Seeds from which every claim also holds on average: where one seed in ten falls far, 29 miss it with chance 0.05."""
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
    beyond: int
    """Seeds on its side of the margin."""
    shown: bool
    smallest_visible: float | None
    """Its power: the distance beyond its margin that this many seeds would have shown with chance 0.8."""


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
    components: Mapping[str, Component]
    """By test; those whose contrast was not given are absent."""
    unseen: float
    """The share of runs that may go another way without one of these seeds doing so (``seeds.unseen``)."""

    @property
    def descriptive(self) -> bool:
        """Too few seeds to test: a pattern is described."""
        return most(self.seeds, self.missing) > ALPHA

    @property
    def row(self) -> str:
        """The row that fits, tested or not."""
        return self.name.removeprefix(PATTERN)

    def shown(self, test: str) -> bool:
        return test in self.components and self.components[test].shown

    def moved(self, test: str) -> str:
        """The test's mean difference, in words."""
        return signed(self.components[test].estimate)

    def basis(self) -> str:
        return basis(self.seeds, self.p, self.reach, self.missing)


@dataclass(frozen=True, slots=True)
class Judged:
    """The first row that fits, and every test."""

    row: str
    rests: tuple[Component, ...]
    """The tests of the row; of a family, its best member. Empty where nothing is claimed."""
    seeds: int
    missing: int
    components: Mapping[str, Component]
    members: Mapping[str, Mapping[str, Component]]
    """Family -> member -> its weakest test, adjusted by Holm."""
    facts: Mapping[str, bool]

    @property
    def descriptive(self) -> bool:
        return most(self.seeds, self.missing) > ALPHA

    @property
    def name(self) -> str:
        return PATTERN + self.row if self.rests and self.descriptive else self.row

    @property
    def p(self) -> float | None:
        if not self.rests or self.descriptive:
            return None
        return max([most(self.seeds, self.missing), *(c.p for c in self.rests if c.p is not None)])

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

    def risen(self, family: str) -> list[str]:
        """The members of a family that are shown."""
        return [member for member, c in self.members[family].items() if c.shown]

    def state(self, rows: Sequence[Row]) -> str:
        """The first of other rows that fits, as the reason of a claim that is not made."""
        return first(rows, self.shown)[0]


def most(measured: int, missing: int = 0) -> float:
    """p of "most seeds show it" where all that were measured do, and those that are missing count against it.

    The chance of so many or more if half of all seeds showed it: 0.5^S with none missing.
    """
    from scipy import stats

    return float(stats.binom.sf(measured - 1, measured + missing, 0.5))


def first(rows: Sequence[Row], shown: Callable[[str], bool]) -> Row:
    """The first row whose tests are all shown. The last must need none, so that every outcome has one row."""
    return next(row for row in rows if all(shown(test) for test in row[1]))


def component(
    differences: Sequence[float], test: MarginTest, *, tested: bool = True, refused: bool = False
) -> Component:
    """One test of (S,) differences; ``tested``: seeds are enough; ``refused``: it cannot be shown at this base."""
    _, side, margin, two_sided, bounds = test
    times = 2 if two_sided else 1
    p = min(1.0, times * seeds.one_sided_p(differences, margin, side)) if tested else None
    beyond = sum(d > margin if side == "greater" else d < margin for d in differences)
    shown = beyond == len(differences) and (p is None or p <= ALPHA) and not refused
    visible = seeds.smallest_visible(differences, ALPHA / times)
    return Component(seeds.mean_over_seeds(differences, bounds), p, beyond, shown, visible)


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
    given = {name: values for name, values in contrasts.items() if values is not None}
    sizes = {len(values) for values in given.values()}
    if len(sizes) > 1:
        raise UsageError("Differences are paired by seed: give as many of each. Leave out seeds that lack an arm.")
    if sizes <= {0}:
        raise UsageError("There is no seed to estimate from. Finish at least one run.")
    s = sizes.pop()
    tested = most(s, missing) <= ALPHA
    components = {
        name: component(given[test.contrast], test, tested=tested, refused=name in refused)
        for name, test in tests.items()
        if test.contrast in given
    }
    members = {name: _adjusted(family, components, s) for name, family in (families or {}).items()}
    known = {**{test: True for test in optional if test not in components}, **(facts or {})}
    judged = Judged("", (), s, missing, components, members, known)
    row, needs = first(rows, judged.shown)
    best = [max(members[t].values(), key=_strength) if t in members else components.get(t) for t in needs]
    return Judged(row, tuple(c for c in best if c), s, missing, components, members, known)


def _strength(c: Component) -> tuple[bool, float]:
    return c.shown, -(c.p or 0.0)


def _adjusted(family: Mapping[str, Sequence[str]], components: Mapping[str, Component], s: int) -> dict[str, Component]:
    """Member -> its first test's estimate and power, with the largest p-value of all its tests, Holm's.

    Every seed must lie on its side of each; that needs no correction, since most seeds then show *some* member.
    """
    parts = {member: [components[test] for test in tests] for member, tests in family.items()}
    largest = {member: max((c.p for c in tests if c.p is not None), default=None) for member, tests in parts.items()}
    adjusted = iter(holm([p for p in largest.values() if p is not None]))
    out = {}
    for member, tests in parts.items():
        p = None if largest[member] is None else next(adjusted)
        beyond = min(c.beyond for c in tests)
        shown = beyond == s and (p is None or p <= ALPHA)
        out[member] = Component(tests[0].estimate, p, beyond, shown, tests[0].smallest_visible)
    return out


# --- words ------------------------------------------------------------------------------------------------------------


def basis(runs: int, p: float | None, reach: float | None, missing: int = 0) -> str:
    """What a claim rests on, for its sentence: seeds, p-value, what is left open; power where nothing is claimed."""
    of = f"{runs} seed{'s' * (runs != 1)}" + (f" of {runs + missing}, the others lack a rate" if missing else "")
    if most(runs, missing) > ALPHA:
        return f"{of}: no test"
    if p is None:
        return of + (f", power 0.8 from {100 * reach:.1f} points beyond a margin" if reach is not None else "")
    average = "and on average" if runs >= AVERAGE_FROM else f"nothing on average below {AVERAGE_FROM} seeds"
    open_ = f"another outcome in up to {100 * seeds.unseen(runs):.0f} % of seeds is not excluded"
    return f"in most seeds, {average}: {of}, every one so, {p_value(p)}; {open_}"


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
