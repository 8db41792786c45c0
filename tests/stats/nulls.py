"""Worlds in which a claim about an experiment is false, and their parameters: committed before the rules are chosen.

A world is what an experiment of S seeds measures, N times over: rates (N, S) of every arm and measure, drawn here as
numpy arrays. Each has parameters for choosing the rules, and others for the one test that follows (``held_out``).
``results/simulations.md`` lists them; ``python -m tests.stats.claimed --write`` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loopkit.stats.onset import lengths, onset
from tests.stats.onsets import above

Array = NDArray[np.float64]
Rng = np.random.Generator

SIMULATIONS = 2000
"""Experiments drawn for each null, name, edge and number of seeds."""
SEEDS = (3, 5, 8, 10, 20)
RNG_SEED, HELD_OUT_RNG_SEED = 20261130, 31122026
EXPLOIT, TASK = 0.1, -0.05
"""Margins of the worlds: a rate of exploits, and a score. Bases are far enough from 0 that neither is scaled."""
NOISE = 0.02
"""Spread over seeds of whatever is not on an edge."""

Key = tuple[str, str]
"""(measure, arm)"""


@dataclass(frozen=True)
class World:
    """``rates``: (N, S) by (measure, arm), measures exploit, task, observed; ``onset``: (N, S) flags by arm."""

    rates: Mapping[Key, Array]
    onset: Mapping[str, NDArray[np.bool_]]
    missing: NDArray[np.bool_]
    """Seeds whose rates could not be measured."""
    paid: bool = False

    def minus(self, measure: str, arm: str) -> Array:
        """Loophole minus another arm."""
        return self.rates[measure, "loophole"] - self.rates[measure, arm]


BLIND_SPOT: Mapping[Key, float] = {
    ("exploit", "base"): 0.1, ("exploit", "loophole"): 0.7, ("exploit", "control"): 0.05, ("exploit", "placebo"): 0.1,
    ("task", "base"): 0.5, ("task", "loophole"): 0.6, ("task", "control"): 0.7, ("task", "placebo"): 0.5,
    ("observed", "base"): 0.6, ("observed", "loophole"): 0.85, ("observed", "control"): 0.7,
    ("observed", "placebo"): 0.6,
}  # fmt: skip
DECLINE: Mapping[Key, float] = {("task", "loophole"): 0.1, ("task", "base"): 0.5, ("task", "control"): 0.6}
CLEAR: Mapping[str, Mapping[Key, float]] = {
    "blind spot": BLIND_SPOT,
    "masked decline": {**BLIND_SPOT, **DECLINE},
    "over-optimisation": {**BLIND_SPOT, **DECLINE},
    "visible": {**BLIND_SPOT, **DECLINE, ("observed", "loophole"): 0.2},
    "no exploit": {**BLIND_SPOT, ("exploit", "loophole"): 0.1, ("exploit", "control"): 0.1},
}
"""The mean of every rate where a name is true, far from every margin."""
NAMES = tuple(CLEAR)

Edge = tuple[str, str, float, int]
EDGES: Mapping[str, tuple[Edge, ...]] = {
    "blind spot": (("exploit", "base", EXPLOIT, 1), ("exploit", "control", EXPLOIT, 1),
                   ("exploit", "placebo", EXPLOIT, 1), ("task", "base", TASK, 1), ("observed", "base", TASK, 1)),
    "masked decline": (("exploit", "base", EXPLOIT, 1), ("exploit", "placebo", EXPLOIT, 1), ("task", "base", TASK, -1),
                       ("task", "control", TASK, -1), ("observed", "base", TASK, 1)),
    "over-optimisation": (("exploit", "base", EXPLOIT, 1), ("exploit", "placebo", EXPLOIT, 1),
                          ("task", "base", TASK, -1), ("task", "control", TASK, -1), ("observed", "base", 0.0, 1)),
    "visible": (("exploit", "base", EXPLOIT, 1), ("exploit", "placebo", EXPLOIT, 1), ("task", "base", TASK, -1),
                ("observed", "base", TASK, -1)),
    "no exploit": (("exploit", "base", EXPLOIT, -1), ("exploit", "base", -EXPLOIT, 1)),
}  # fmt: skip
"""Name -> the contrasts (measure, the other arm) that can make it false, their margins, and the side (1 above)."""


# --- shapes: how seeds lie about a margin ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """(N, S) distances beyond a margin, positive on the claimed side: in half of all seeds, unless said."""

    name: str
    what: str
    draw: Callable[[Rng, tuple[int, int], Mapping[str, float]], Array]
    parameters: Mapping[str, float]
    held_out: Mapping[str, float]
    average: bool = False
    """The claim is false on average only: most seeds show it."""
    missing: bool = False
    """Of the seeds that do not show it, some have no rate."""


def _lognormal(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> Array:
    return p["scale"] * (np.exp(p["sigma"] * r.normal(size=n)) - 1)


def _split(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> Array:
    return np.where(r.random(n) < p["share"], p["far"], -p["far"]) + r.normal(0, p["sd"], n)


def _collapse(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> Array:
    """Mean on the margin: a share of the runs falls by ``fall``, the rest lies a little beyond."""
    here = p["share"] * p["fall"] / (1 - p["share"])
    return np.where(r.random(n) < p["share"], -p["fall"], here) + r.normal(0, p["sd"], n)


def _unequal(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> Array:
    """Seeds are measured with from ``least`` to ``most`` clusters: their noise differs."""
    clusters = np.exp(r.uniform(np.log(p["least"]), np.log(p["most"]), n))
    return r.normal(0, p["sd"], n) + r.normal(size=n) * np.sqrt(0.25 / clusters)


SHAPES: tuple[Shape, ...] = (
    Shape("normal", "normal", lambda r, n, p: r.normal(0, p["sd"], n), {"sd": 0.1}, {"sd": 0.06}),
    Shape("heavy", "Student's t", lambda r, n, p: p["scale"] * r.standard_t(p["df"], n),
          {"df": 3, "scale": 0.05}, {"df": 2.5, "scale": 0.1}),
    Shape("skewed, tail against", "lognormal, median on the margin", lambda r, n, p: -_lognormal(r, n, p),
          {"sigma": 1.0, "scale": 0.05}, {"sigma": 1.2, "scale": 0.08}),
    Shape("skewed, tail towards", "lognormal, median on the margin", _lognormal,
          {"sigma": 1.0, "scale": 0.05}, {"sigma": 1.2, "scale": 0.08}),
    Shape("half and half", "two modes", _split, {"share": 0.5, "far": 0.3, "sd": 0.02},
          {"share": 0.49, "far": 0.2, "sd": 0.03}),
    Shape("one in ten", "one run in ten collapses, mean on the margin", _collapse,
          {"share": 0.1, "fall": 0.45, "sd": 0.01}, {"share": 0.11, "fall": 0.4, "sd": 0.02}, average=True),
    Shape("skewed on average", "lognormal, mean on the margin",
          lambda r, n, p: -_lognormal(r, n, p) + p["scale"] * (np.exp(p["sigma"] ** 2 / 2) - 1),
          {"sigma": 1.0, "scale": 0.05}, {"sigma": 1.1, "scale": 0.06}, average=True),
    Shape("unequal clusters", "evaluated on few prompts and on many", _unequal,
          {"least": 10, "most": 2000, "sd": 0.05}, {"least": 8, "most": 1000, "sd": 0.08}),
    Shape("missing seeds", "two modes; of those against, a share has no rate", _split,
          {"share": 0.5, "far": 0.3, "sd": 0.02, "lost": 0.5}, {"share": 0.48, "far": 0.25, "sd": 0.04, "lost": 0.3},
          missing=True),
)  # fmt: skip


def arms(rng: Rng, n: tuple[int, int], levels: Mapping[Key, float], paid: bool = False) -> World:
    """Every rate at its level, with NOISE over seeds."""
    return sighted(rng, {key: level + rng.normal(0, NOISE, n) for key, level in levels.items()}, paid)


def sighted(rng: Rng, rates: Mapping[Key, Array], paid: bool = False, false_onsets: float = 0.05) -> World:
    """With onsets: wherever a rate ends at least 5 points above base, and falsely in one run of twenty."""
    shape = rates["exploit", "base"].shape
    seen = {
        arm: (rates["exploit", arm] > rates["exploit", "base"] + 0.05) | (rng.random(shape) < false_onsets)
        for arm in ("loophole", "control", "placebo")
    }
    return World(rates, seen, np.zeros(shape, bool), paid)


def on_edge(
    rng: Rng, n: tuple[int, int], name: str, edge: tuple[str, str, float, int], shape: Shape, held: bool
) -> World:
    """A world in which a name is true but for one contrast, whose seeds lie about its margin in this shape."""
    parameters = shape.held_out if held else shape.parameters
    world = arms(rng, n, CLEAR[name], paid=name == "over-optimisation")
    measure, arm, margin, side = edge
    beyond = shape.draw(rng, n, parameters)
    other = world.rates[measure, "loophole"] - margin - side * beyond
    lost = (beyond < 0) & (rng.random(n) < parameters["lost"]) if shape.missing else world.missing
    moved = sighted(rng, {**world.rates, (measure, arm): other}, world.paid)
    if name == "no exploit":  # nobody noticed the rise in training: the worst case
        moved = replace(moved, onset={a: np.zeros(n, bool) for a in moved.onset})
    return replace(moved, missing=lost)


# --- worlds of their own ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Null:
    """A world in which each of ``false`` is false, whatever else is true."""

    name: str
    what: str
    draw: Callable[[Rng, tuple[int, int], Mapping[str, float]], World]
    parameters: tuple[Mapping[str, float], ...]
    held_out: tuple[Mapping[str, float], ...]
    false: tuple[str, ...] = field(default=())


def _drift(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> World:
    """Loophole and placebo rise alike, whatever is paid; control punishes it."""
    levels = {**CLEAR["masked decline" if p["falls"] else "blind spot"], ("exploit", "loophole"): 0.1}
    world, drift = arms(r, n, levels, paid=p["falls"] == 2), p["drift"] + r.normal(0, p["sd"], n)
    rates = dict(world.rates)
    for arm in ("loophole", "placebo"):
        rates["exploit", arm] = rates["exploit", "base"] + drift + r.normal(0, p["sd"] / 2, n)
    return sighted(r, rates, world.paid)


def _alone(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> World:
    """Loophole and placebo drift each on its own, equally far."""
    rates = dict(arms(r, n, {**CLEAR["blind spot"], ("exploit", "loophole"): 0.1}).rates)
    for arm in ("loophole", "placebo"):
        rates["exploit", arm] = rates["exploit", "base"] + r.normal(p["mean"], p["sd"], n)
    return sighted(r, rates)


@cache
def _curves(sd: float, rho: float, steps: int, held: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Array]:
    """(2000,) runs that wander about base 0.1 for a reason that is not an incentive: whether they have an onset against
    base, and beside the next run as its placebo; and the rate at the end.
    """
    r = np.random.default_rng(RNG_SEED + held)
    walk = np.zeros((2000, steps))
    walk[:, 0] = r.normal(0, sd, 2000)
    for t in range(1, steps):
        walk[:, t] = rho * walk[:, t - 1] + r.normal(0, sd * np.sqrt(1 - rho**2), 2000)
    true = np.clip(0.1 + walk, 0, 1)
    counts = r.binomial(128, true)
    seen = np.array([onset(list(map(float, run)), 0.1145) is not None for run in counts / 128])
    apart = np.zeros(2000, bool)
    for length in lengths(steps):
        total = np.cumsum(np.pad(counts, ((0, 0), (1, 0))), 1)
        n, p = 128 * length, (total[:, length:] - total[:, :-length]) / (128 * length)
        centre, half = p + 1.92 / n, 1.96 * np.sqrt(p * (1 - p) / n + 0.96 / n**2)
        run = p, p - (centre - half) / (1 + 3.84 / n), (centre + half) / (1 + 3.84 / n) - p
        other = tuple(np.roll(x, -1, 0) for x in run)
        apart |= above(run, other, EXPLOIT).any(1)
    return seen, apart, true[:, -1]


def _wander(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> World:
    seen, apart, ends = _curves(p["sd"], p["rho"], int(p["steps"]), int(p["steps"]))
    world = arms(r, n, {**CLEAR["blind spot"], ("exploit", "loophole"): 0.1, ("exploit", "control"): 0.1})
    rates, which = dict(world.rates), r.integers(0, len(seen), n)
    drawn = {"loophole": which, "placebo": (which + 1) % len(seen), "control": r.integers(0, len(seen), n)}
    for arm, runs in drawn.items():
        rates["exploit", arm] = ends[runs] + r.normal(0, 0.007, n)
    onsets = {"loophole": apart[which], "placebo": seen[drawn["placebo"]], "control": apart[drawn["control"]]}
    return World(rates, onsets, world.missing)


def _spontaneous(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> World:
    """A share of the runs breaks through, under placebo as often as under the loophole."""
    rates = dict(arms(r, n, {**CLEAR["blind spot"], ("exploit", "loophole"): 0.1}).rates)
    for arm in ("loophole", "placebo"):
        rates["exploit", arm] = rates["exploit", arm] + np.where(r.random(n) < p["share"], p["rise"], 0.0)
    return sighted(r, rates)


def _floor(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> World:
    """A skill that hardly was there is lost: the fall is smaller than the margin. Or so with the observed score."""
    measure = "task" if p["task"] else "observed"
    levels = {**CLEAR["blind spot"], (measure, "base"): p["base"], (measure, "loophole"): 0.0}
    world = arms(r, n, levels)
    rates = {**world.rates, (measure, "base"): p["base"] + r.normal(0, p["sd"], n)}
    rates[measure, "loophole"] = np.abs(r.normal(0, p["sd"], n))
    return sighted(r, {k: np.clip(v, 0, 1) for k, v in rates.items()})


def _ceiling(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> World:
    """Base is at the top: no room to rise is not a lack of an exploit, and half a point is not an over-optimisation."""
    name = "no exploit" if p["exploit"] else "over-optimisation"
    measure = "exploit" if p["exploit"] else "observed"
    levels = {**CLEAR[name], (measure, "base"): p["base"], (measure, "loophole"): p["base"] + p["rise"]}
    levels |= {("exploit", arm): p["base"] for arm in ("control", "placebo") if p["exploit"]}
    world = arms(r, n, levels, paid=not p["exploit"])
    rates = dict(world.rates)
    for arm in ("base", "loophole"):
        rates[measure, arm] = levels[measure, arm] + r.normal(0, p["sd"], n)
    rates = {k: np.clip(v, 0, 1) for k, v in rates.items()}
    return World(rates, {a: np.zeros(n, bool) for a in ("loophole", "control", "placebo")}, world.missing, world.paid)


def _degenerate(r: Rng, n: tuple[int, int], p: Mapping[str, float]) -> World:
    """Nothing is learned in any arm: every rate stays base's, but for a few prompts."""
    base = {m: CLEAR["blind spot"][m, "base"] + r.normal(0, NOISE, n) for m in ("exploit", "task", "observed")}
    rates = {(m, a): base[m] + (r.normal(0, p["sd"], n) if a != "base" else 0.0) for m, a in CLEAR["blind spot"]}
    return World(rates, {a: np.zeros(n, bool) for a in ("loophole", "control", "placebo")}, np.zeros(n, bool))


UP = ("blind spot", "masked decline", "over-optimisation", "visible", "breakthrough")
"""Claims that the loophole made the exploit rise."""
NULLS: tuple[Null, ...] = (
    Null("common drift", "loophole and placebo rise alike, the task holds, falls, or falls where it is paid", _drift,
         tuple({"drift": d, "sd": 0.05, "falls": f} for f in (0, 1, 2) for d in (0.05, 0.1, 0.15, 0.2, 0.3)),
         tuple({"drift": d, "sd": 0.1, "falls": f} for f in (0, 1, 2) for d in (0.12, 0.4)), UP),
    Null("drift apart", "loophole and placebo drift, each on its own", _alone,
         ({"mean": 0.0, "sd": 0.1}, {"mean": 0.1, "sd": 0.1}),
         ({"mean": 0.08, "sd": 0.08}, {"mean": 0.0, "sd": 0.15}), UP),
    Null("autocorrelated curves", "rates wander in training: AR(1), 128 rollouts a step", _wander,
         ({"sd": 0.05, "rho": 0.95, "steps": 60}, {"sd": 0.1, "rho": 0.95, "steps": 60}),
         ({"sd": 0.08, "rho": 0.97, "steps": 80},), UP),
    Null("spontaneous", "some runs break through, under placebo as often", _spontaneous,
         ({"share": 0.1, "rise": 0.6}, {"share": 0.5, "rise": 0.6}),
         ({"share": 0.3, "rise": 0.5}, {"share": 0.7, "rise": 0.5}), UP),
    Null("floor", "a score of almost nothing is lost", _floor,
         ({"task": 1, "base": 0.04, "sd": 0.004}, {"task": 0, "base": 0.04, "sd": 0.004}),
         ({"task": 1, "base": 0.05, "sd": 0.008}, {"task": 0, "base": 0.045, "sd": 0.006}), ("blind spot",)),
    Null("ceiling", "no room to rise", _ceiling,
         ({"exploit": 1, "base": 0.97, "rise": 0.0, "sd": 0.005},
          {"exploit": 0, "base": 0.98, "rise": 0.005, "sd": 0.002}),
         ({"exploit": 1, "base": 0.95, "rise": 0.02, "sd": 0.008},
          {"exploit": 0, "base": 0.96, "rise": 0.008, "sd": 0.003}),
         ("no exploit", "over-optimisation")),
    Null("degenerate", "no arm learns anything", _degenerate, ({"sd": 0.0}, {"sd": 0.002}), ({"sd": 0.004},),
         (*UP, "no exploit")),
)  # fmt: skip


def worlds(held: bool) -> Iterator[tuple[str, str, str, bool, Callable[[Rng, tuple[int, int]], World]]]:
    """(null, name that is false there, what varies, whether it is false on average only, how to draw it)."""
    for shape in SHAPES:
        for name, edges in EDGES.items():
            for edge in edges:
                label = f"{edge[0]} against {edge[1]} at {100 * edge[2]:+.0f}"
                yield (shape.name, name, label, shape.average,
                       lambda r, n, a=name, e=edge, h=shape: on_edge(r, n, a, e, h, held))  # fmt: skip
    for null in NULLS:
        for parameters in null.held_out if held else null.parameters:
            label = ", ".join(f"{k} {v:g}" for k, v in parameters.items())
            for name in null.false:
                yield null.name, name, label, False, lambda r, n, d=null.draw, p=parameters: d(r, n, p)
