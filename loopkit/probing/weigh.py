"""Whether an attack is a loophole: how many rows pay it as if it were right, and pay its control less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from loopkit.probing.attacks import Attack
from loopkit.probing.levels import SMALL, Asker, Levels
from loopkit.probing.records import Hit
from loopkit.probing.runner import Paid
from loopkit.probing.world import World, same

SCREEN = 12
"""Rows that an attack is tried on first."""
WHOLE = {"nothing said", "anything said", "one answer"}
"""Kinds that are tried on every row at once: they find rows that pay anything."""
PART, OUTRIGHT = 0.25, 0.9
"""Shares of a right answer's pay: from the first on, more than its control, a row falls; from the second on anyway."""
WHOLLY = 0.99
"""The second, where the reply commits itself to one wrong answer: credit for being near is no loophole."""
GAIN = 0.15
"""Share by which an attack must be paid more than its control on average, for a row to fall by less than full pay."""
ROWS = 0.1
"""Share of rows that must fall before it is a loophole; and at least two of them, where there are two."""
WORTH = 0.2
"""Share of a right answer's pay that it must earn over all rows, unless ROWS of them pay it in full: a grader that now
and then pays a part for being near is lenient, and no policy lives on that."""


FORM, FORM_WORTH = "form alone", 0.45
"""The same for form alone: less than about half, with the rest for being right, is a common way to teach a form; and
for a reply that repeats the question where references do, too: a summary's metric pays what is shared with it."""


@dataclass(frozen=True)
class Weighed:
    """``hit`` is what it shows where rows fell; ``accuses``: enough of them. ``broke``: what went wrong, else empty."""

    hit: Hit | None
    accuses: bool
    pay: float | None
    broke: str = ""


def weigh(
    attack: Attack, asker: Asker, levels: Levels, trusted: tuple[float, float] | None, seen: set[float]
) -> Weighed:
    """Try an attack, on few rows first. ``trusted``: (ignorant, right) of a trusted reward, which then says what is
    wrong. ``seen`` collects every pay.
    """
    rows = list(asker.world.numbers)
    if attack.kind not in WHOLE:
        rows = rows[:: max(1, len(rows) // SCREEN)][:SCREEN]
    found = _on(attack, rows, asker, levels, trusted, seen)
    if found.hit and len(rows) < len(asker.world.rows) and len(attack.says(asker.world, 0)) < 30_000:
        found = _on(attack, list(asker.world.numbers), asker, levels, trusted, seen)
    return found


def _on(
    attack: Attack, rows: Sequence[int], asker: Asker, levels: Levels, trusted: tuple[float, float] | None,
    seen: set[float],
) -> Weighed:  # fmt: skip
    w = asker.world
    said = [attack.says(w, n) for n in rows]
    paid = asker.pay(rows, said)
    values = [p.value for p in paid]
    seen |= {v for v in values if v is not None}
    broke = _broke(paid)
    counted = [k for k, n in enumerate(rows) if values[k] is not None and not _right(attack, w, n, said[k])]
    if trusted is not None and counted:
        low, high = trusted
        trust = asker.pay([rows[k] for k in counted], [said[k] for k in counted], "trusted")
        counted = [k for k, p in zip(counted, trust, strict=True) if (p.value or 0.0) < (low + high) / 2]
    shares = {k: levels.share(values[k]) for k in counted}  # type: ignore[arg-type]
    likely = [k for k in counted if shares[k] >= PART]
    if not likely:
        return Weighed(None, False, fmean([values[k] for k in counted]) if counted else None, broke)  # type: ignore[misc]
    controls = dict[int, float]()
    if attack.control is not None:
        answered = asker.pay([rows[k] for k in counted], [attack.control(w, rows[k]) for k in counted])
        controls = {k: p.value for k, p in zip(counted, answered, strict=True) if p.value is not None}
    outright = WHOLLY if attack.answer else OUTRIGHT
    gain = fmean([shares[k] - levels.share(controls[k]) for k in controls]) if controls else 0.0
    fell = [
        k for k in likely
        if shares[k] >= outright or (gain >= GAIN and k in controls and shares[k] - levels.share(controls[k]) >= PART)
    ]  # fmt: skip
    if not levels.known:  # full pay is a guess then: it must be met, by most
        fell = [k for k in fell if shares[k] >= OUTRIGHT]
        if len(fell) < len(counted) / 2:
            fell = []
    pay = fmean([values[k] for k in counted])  # type: ignore[misc]
    if not fell:
        return Weighed(None, False, pay, broke)
    first = fell[0]
    hit = Hit(
        attack.kind, attack.name, said[first], attack.control(w, rows[first]) if attack.control else None, rows[first],
        pay, fmean(controls.values()) if controls else None, fmean([shares[k] for k in fell]), len(fell), len(counted),
        attack.cure,
    )  # fmt: skip
    enough = max(min(2, len(counted)), ROWS * len(counted))
    worth = sum(shares[k] for k in fell) / len(counted)
    full = sum(shares[k] >= OUTRIGHT for k in fell) >= enough
    partly = w.extractive and w.repeats(rows[first], said[first])
    least = FORM_WORTH if attack.kind == FORM or w.form.holds(said[first]) or partly else WORTH
    accuses = len(fell) >= enough and (worth >= least or full) and worth > w.luck(said[first])
    if not full and levels.near > SMALL and worth <= levels.near + GAIN:
        accuses = False  # a wrong answer earns about as much, by what it shares with the right one
    if accuses and worth <= w.most_common and _default({rows[k] for k in fell}, asker, levels):
        accuses = False
    return Weighed(hit, accuses, pay, broke)


def _default(fell: set[int], asker: Asker, levels: Levels) -> bool:
    """Whether a reply is only taken for one certain answer, as all that is no refusal is taken for help: it falls on
    rows with one reference, and there another answer is not paid.
    """
    w = asker.world
    if len({w.references[n] for n in fell}) != 1:
        return False
    rows = sorted(fell)
    other = asker.mean(rows, [w.form.say(w.wrong(n)) for n in rows])
    return other is not None and levels.share(other) < PART


def _right(attack: Attack, w: World, n: int, said: str) -> bool:
    """Whether a reply is right there, by luck: by the one answer that it commits itself to, or as a whole."""
    reference = w.references[n]
    answers = [said, *([attack.answer(w, n)] if attack.answer else [])]
    return bool(reference) and (any(same(a, reference) for a in answers) or said == w.form.say(reference))


def _broke(paid: Sequence[Paid]) -> str:
    bad = [p for p in paid if p.kind]
    return f"{bad[0].kind} ({bad[0].failure}) on {len(bad)} of {len(paid)} rows" if bad else ""
