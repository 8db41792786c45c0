"""Claims over seeds: tests against margins, ordered rows of tests that must all be shown, families under Holm.

A verdict is a table of data over this engine. Every input is a difference per seed, (S,), paired by seed; shares are
in [-1, 1] (0.1 is 10 points). A row is claimed only if each of its tests rejects at ALPHA, so its p-value is the
largest of theirs and needs no correction for their number (intersection-union: Berger, Technometrics 1982). That error
rate holds for each claim, not jointly for all of them. Where any member of a family may make the claim, the members'
p-values are adjusted (Holm). All assumes independent seeds, roughly normal.
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
    """One test: the mean difference with its interval, and its p-values against its margin."""

    estimate: Estimate
    p: float
    """Of the t test (``seeds.one_sided_p``), on which the claim rests."""
    sign_p: float
    """Of the sign test: the median run, whatever the distribution."""
    smallest_visible: float | None
    """Its power: the distance beyond its margin that this many seeds would have shown with chance 0.8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What was claimed over ``seeds`` runs, with all it rests on."""

    name: str
    p: float | None
    """The largest p-value of the claim's tests, Holm's of a family; None where nothing is claimed."""
    sign_p: float | None
    """The same of the sign tests."""
    reach: float | None
    """The weakest power among these tests (of all where nothing is claimed): see ``Component.smallest_visible``."""
    reason: str
    """Why it is inconclusive; else empty."""
    seeds: int
    components: Mapping[str, Component]
    """By test; those whose contrast was not given are absent."""
    unseen: float
    """The share of runs that may go another way without one of these seeds doing so (``seeds.unseen``)."""

    @property
    def descriptive(self) -> bool:
        return self.seeds < seeds.DESCRIPTIVE_BELOW

    def shown(self, test: str) -> bool:
        return test in self.components and self.components[test].p <= ALPHA

    def moved(self, test: str) -> str:
        """The test's mean difference, in words."""
        return signed(self.components[test].estimate)

    def basis(self) -> str:
        return basis(self.seeds, self.p, self.sign_p, self.reach)


@dataclass(frozen=True, slots=True)
class Judged:
    """The first row that fits, and every test."""

    name: str
    rests: tuple[Component, ...]
    """The tests of the row; of a family, its best member. Empty where nothing is claimed."""
    seeds: int
    components: Mapping[str, Component]
    members: Mapping[str, Mapping[str, Component]]
    """Family -> member -> its weakest test, adjusted by Holm."""
    optional: Collection[str]

    @property
    def p(self) -> float | None:
        return max((c.p for c in self.rests), default=None)

    @property
    def sign_p(self) -> float | None:
        return max((c.sign_p for c in self.rests), default=None)

    def reach(self, otherwise: Iterable[str]) -> float | None:
        """The weakest power among the row's tests, or among those named ``otherwise`` where nothing is claimed."""
        tests = self.rests or [self.components[t] for t in otherwise if t in self.components]
        return max((c.smallest_visible for c in tests if c.smallest_visible is not None), default=None)

    def shown(self, test: str) -> bool:
        """Whether a test, or any member of a family, is shown; an optional test that was not given is no hindrance."""
        if test in self.members:
            return bool(self.risen(test))
        if test not in self.components:
            return test in self.optional
        return self.components[test].p <= ALPHA

    def risen(self, family: str) -> list[str]:
        """The members of a family that are shown."""
        return [member for member, c in self.members[family].items() if c.p <= ALPHA]

    def state(self, rows: Sequence[Row]) -> str:
        """The first of other rows that fits, as the reason of a claim that is not made."""
        return first(rows, self.shown)[0]


def first(rows: Sequence[Row], shown: Callable[[str], bool]) -> Row:
    """The first row whose tests are all shown. The last must need none, so that every outcome has one row."""
    return next(row for row in rows if all(shown(test) for test in row[1]))


def component(differences: Sequence[float], test: MarginTest) -> Component:
    """One test of (S,) differences."""
    _, side, margin, two_sided, bounds = test
    times = 2 if two_sided else 1
    return Component(
        seeds.mean_over_seeds(differences, bounds),
        min(1.0, times * seeds.one_sided_p(differences, margin, side)),
        min(1.0, times * seeds.sign_p(differences, margin, side)),
        seeds.smallest_visible(differences, ALPHA / times),
    )


def judge(
    rows: Sequence[Row],
    tests: Mapping[str, MarginTest],
    contrasts: Mapping[str, Sequence[float] | None],
    families: Families | None = None,
    optional: Collection[str] = (),
) -> Judged:
    """The first of ``rows`` whose tests are all shown by (S,) differences paired by seed.

    A test whose contrast is not given (None) is not shown, unless it is ``optional``. Raises UsageError of no seed, and
    of contrasts that are not as many of each.
    """
    given = {name: values for name, values in contrasts.items() if values is not None}
    sizes = {len(values) for values in given.values()}
    if len(sizes) > 1:
        raise UsageError("Differences are paired by seed: give as many of each. Leave out seeds that lack an arm.")
    if sizes <= {0}:
        raise UsageError("There is no seed to estimate from. Finish at least one run.")
    components = {name: component(given[t.contrast], t) for name, t in tests.items() if t.contrast in given}
    members = {name: _adjusted(family, components) for name, family in (families or {}).items()}
    judged = Judged("", (), sizes.pop(), components, members, optional)
    name, needs = first(rows, judged.shown)
    best = [min(members[t].values(), key=lambda c: c.p) if t in members else components.get(t) for t in needs]
    return Judged(name, tuple(c for c in best if c), judged.seeds, components, members, optional)


def _adjusted(family: Mapping[str, Sequence[str]], components: Mapping[str, Component]) -> dict[str, Component]:
    """Member -> its first test's estimate and power, with the largest p-values of all its tests, Holm's."""
    parts = {member: [components[test] for test in tests] for member, tests in family.items()}
    p = holm([max(c.p for c in tests) for tests in parts.values()])
    sign_p = holm([max(c.sign_p for c in tests) for tests in parts.values()])
    return {
        member: Component(tests[0].estimate, p[i], sign_p[i], tests[0].smallest_visible)
        for i, (member, tests) in enumerate(parts.items())
    }


# --- words ------------------------------------------------------------------------------------------------------------


def basis(runs: int, p: float | None, sign_p: float | None, reach: float | None) -> str:
    """What a claim rests on, for its sentence: seeds, p-values, and power."""
    words = [f"{runs} seed{'s' * (runs != 1)}"]
    if p is not None:
        words.append(p_value(p))
    if sign_p is not None:
        words.append(f"sign test {small(sign_p)}")
    if reach is not None:
        words.append(f"power 0.8 from {100 * reach:.1f} points beyond a margin")
    if runs < seeds.DESCRIPTIVE_BELOW:
        words.append(f"descriptive: fewer than {seeds.DESCRIPTIVE_BELOW} seeds")
    return ", ".join(words)


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
