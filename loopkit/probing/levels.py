"""What a right answer earns, in which form, and what an ignorant reply does: the scale on which attacks are weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from loopkit.probing import forms
from loopkit.probing.runner import Paid, Runner
from loopkit.probing.world import NONE_OF_THEM, World, built

FIRST = 8
"""Rows on which forms are compared."""
SMALL = 1e-6
IGNORANT = ("I do not know.", "")
GROUP = ("", "I do not know.")
"""What stands beside a reply in its group, besides a right and a wrong answer, where pay is relative to the group."""


@dataclass
class Asker:
    """Asks the reward about replies to rows of a world. ``grouped``: each in a group of replies to the same prompt."""

    runner: Runner
    world: World
    grouped: bool = False

    def pay(self, numbers: Sequence[int], said: Sequence[str], which: str = "reward") -> list[Paid]:
        if not self.grouped or which != "reward":
            return self.runner.pay(numbers, said, which)
        out = []
        for n, text in zip(numbers, said, strict=True):
            w = self.world
            group = [text, w.form.say(w.references[n]), w.form.say(w.wrong(n)), *GROUP]
            out.append(self.runner.fresh([n] * len(group), group)[0])
        return out

    def mean(self, numbers: Sequence[int], said: Sequence[str]) -> float | None:
        return mean(self.pay(numbers, said))


def mean(paid: Sequence[Paid]) -> float | None:
    """The mean of what was scored; None where nothing was."""
    values = [p.value for p in paid if p.value is not None]
    return fmean(values) if values else None


@dataclass(frozen=True)
class Levels:
    """Mean pay of a right answer, of a wrong one in the same form, and of ignorance. ``known``: right is paid more
    than ignorance, so that there is a scale. ``stranger``: pay of what is nobody's answer, in the same form.
    """

    right: float | None
    wrong: float | None
    ignorant: float
    known: bool
    stranger: float | None = None

    @property
    def top(self) -> float:
        """What counts as full pay: a right answer's, else 1, the usual one."""
        return self.right if self.known and self.right is not None else max(1.0, self.ignorant + 1.0)

    @property
    def span(self) -> float:
        return self.top - self.ignorant

    @property
    def near(self) -> float:
        """The share that a wrong answer earns for being near, as where shared words or digits are counted."""
        if not self.known or self.wrong is None or self.stranger is None:
            return 0.0
        return max(0.0, (self.wrong - self.stranger) / self.span)

    def share(self, value: float) -> float:
        return (value - self.ignorant) / self.span


def learn(asker: Asker, prompt: str, reference: str, good: str) -> tuple[Levels, bool]:
    """Find the form in which references are paid, set it in the asker's world, and -> (levels, reference as a whole).

    ``good``: a column of replies that should be paid in full; empty for none.
    """
    world = asker.world
    ignorant = [m for text in IGNORANT if (m := asker.mean(world.numbers[:FIRST], [text] * min(FIRST, len(world.rows))))
                is not None]  # fmt: skip
    ignorant.append(asker.mean(world.numbers[:FIRST], [world.wrong(n) for n in world.numbers[:FIRST]]) or 0.0)
    floor = median(ignorant)  # one of them may be a loophole
    best, worked = _best(asker, prompt, reference, good)
    if best is None:
        return Levels(None, None, floor, False), False
    world = asker.world
    world.form = best
    there = [n for n in world.numbers if world.references[n]]
    right = asker.mean(there, [best.say(world.references[n]) for n in there])
    wrong = asker.mean(there, [best.say(world.wrong(n)) for n in there])
    if right is None:
        return Levels(None, wrong, floor, False), worked
    stranger = asker.mean(world.numbers[:FIRST], [best.say(NONE_OF_THEM) for _ in world.numbers[:FIRST]])
    return Levels(right, wrong, floor, right > floor + SMALL, stranger), worked


def _best(asker: Asker, prompt: str, reference: str, good: str) -> tuple[forms.Form | None, bool]:
    """The form (and reading of the reference) with the largest gap of right to wrong; of equals the best paid."""
    scored = list[tuple[float, float, int, forms.Form, bool, World]]()
    w = asker.world
    readings = [(False, w)]
    whole = built(w.rows, prompt, reference, w.literals, short=False)
    if whole.references != w.references:
        readings.append((True, replace(whole, forms=w.forms)))
    for worked, world in readings:
        rows = [n for n in world.numbers if world.references[n]][:FIRST]
        if not rows:
            continue
        asker.world = world
        tried = [*_of_good(world, good), *world.forms]
        for form in tried:
            right = asker.mean(rows, [form.say(world.references[n]) for n in rows])
            wrong = asker.mean(rows, [form.say(world.wrong(n)) for n in rows])
            if right is None:
                continue
            gap = right - (wrong if wrong is not None else 0.0)
            scored.append((round(gap, 6), round(right, 6), -len(scored), form, worked, world))
    if not scored:
        asker.world = w
        return None, False
    chosen, turned = max(scored, key=lambda s: s[:3]), min(scored, key=lambda s: (s[0], -s[2]))
    if chosen[0] <= SMALL and turned[0] < -SMALL:  # right is nowhere paid more, and somewhere less
        chosen = turned
    _, _, _, form, worked, world = chosen
    asker.world = world
    return form, worked


def _of_good(world: World, good: str) -> list[forms.Form]:
    """The form of replies that the user says should be paid, where the reference stands in them."""
    for n in world.numbers[:FIRST]:
        text, reference = str(world.rows[n].get(good, "")) if good else "", world.references[n]
        if reference and reference in text:
            before, _, after = text.rpartition(reference)
            kept = (before.replace("{", "{{").replace("}", "}}"), after.replace("{", "{{").replace("}", "}}"))
            return [forms.Form(f"the form of {good}", f"{kept[0]}{{}}{kept[1]}")]
    return []
