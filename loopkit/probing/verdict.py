"""From what was found to one word and one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loopkit.probing import records
from loopkit.probing.attacks import LENGTHS, Attack, long_text
from loopkit.probing.levels import SMALL, Asker, Levels
from loopkit.probing.records import Fault, Hit, Word
from loopkit.probing.runner import Spent
from loopkit.probing.weigh import PART, Weighed
from loopkit.probing.world import World

TENTH = 0.1
GROWS = 1.5


@dataclass(frozen=True)
class Told:
    word: Word
    sentence: str
    cure: str
    form: records.Form | None


def of_values(
    asker: Asker, levels: Levels, seen: set[float], weighed: Sequence[tuple[Attack, Weighed]]
) -> list[Fault]:
    """Faults that show in the numbers: a constant, a wrong sign, no bound, rows whose reference is not paid."""
    w, faults = asker.world, list[Fault]()
    every = seen | {v for v in (levels.right, levels.wrong) if v is not None}
    if not every:
        return [Fault("never scored", "no reply was scored: every one got None", "Return a number.", "could not tell")]
    if max(every) - min(every) <= SMALL:
        value = next(iter(every))
        if abs(value) > SMALL:
            faults.append(Fault("constant", f"every reply was paid {value:.4g}, whatever it said",
                                "It looks at nothing: compare the reply with the reference.", "void"))  # fmt: skip
        return faults
    right, wrong = levels.right, levels.wrong
    if right is not None and wrong is not None and wrong - right > TENTH * (max(every) - min(every)):
        faults.append(Fault("sign", f"wrong answers are paid more than right ones ({wrong:.3g} against {right:.3g})",
                            "Turn the sign, or the comparison, round.", "mis-signed"))  # fmt: skip
    try:
        faults += _unbounded(asker, levels)
        faults += _unsatisfied(asker, levels)
    except Spent:
        pass
    _ = w, weighed
    return faults


def _unbounded(asker: Asker, levels: Levels) -> list[Fault]:
    """Pay that goes on growing with length."""
    rows = list(asker.world.numbers)[:4]
    by_size = [asker.mean(rows, [long_text(size)] * len(rows)) for size in LENGTHS[-3:]]
    if any(v is None for v in by_size):
        return []
    small, middle, large = (float(v) for v in by_size if v is not None)
    if large > GROWS * middle > GROWS * GROWS * small > 0 and levels.share(large) > 1:
        return [Fault("unbounded", f"pay grows with length without end: {LENGTHS[-1]:,} characters of prose earn {large:.4g}",
                      "Cap it, and see whether its sign is meant: length pays by itself.", "gameable")]  # fmt: skip
    return []


def _unsatisfied(asker: Asker, levels: Levels) -> list[Fault]:
    """Rows on which the reference earns no more than ignorance, where on others it does."""
    w = asker.world
    if not levels.known:
        return []
    rows = [n for n in w.numbers if w.references[n]]
    paid = asker.pay(rows, [w.form.say(w.references[n]) for n in rows])
    low = [n for n, p in zip(rows, paid, strict=True) if p.value is not None and levels.share(p.value) < PART]
    if not low:
        return []
    return [Fault(
        "unsatisfied rows", f"on {len(low)} of {len(rows)} rows the reference itself is not paid, as on row {low[0]}: "
        f"{w.references[low[0]]!r:.60}", "Look at these rows: no policy can earn there by being right."
    )]  # fmt: skip


def decide(
    hits: Sequence[Hit], faults: Sequence[Fault], levels: Levels, world: World, reference: str, seen: set[float],
    worked: bool,
) -> Told:  # fmt: skip
    """The verdict: the gravest fault first, then loopholes, then whether there was anything to tell by."""
    form = records.Form(world.form.name, world.form.template, worked) if levels.known else None
    for word in ("void", "mis-signed"):
        for fault in faults:
            if fault.word == word:
                return Told(fault.word, f"{_capital(fault.text)}.", fault.cure, form)
    for fault in faults:
        if fault.kind == "unbounded":
            return Told("gameable", f"{_capital(fault.text)}.", fault.cure, form)
    if hits:
        first = hits[0]
        return Told("gameable", _gameable(first, levels), first.cure, form)
    for fault in faults:
        if fault.word:
            return Told(fault.word, f"{_capital(fault.text)}.", fault.cure, form)
    if not levels.known:
        return Told("could not tell", *_unknown(levels, world, reference, seen), form)
    return Told("nothing found", "No reply was found that earns without the goal.", "", form)


def _gameable(hit: Hit, levels: Levels) -> str:
    rows = f"{hit.fell} of {hit.of} rows" if hit.fell < hit.of else f"all {hit.of} rows"
    if not levels.known:
        known = "the reference earns nothing more than ignorance" if levels.right is not None else "nothing is known of what right earns"
        return f"{_capital(hit.name)} earns {hit.pay:.3g} ({rows}), while {known}."
    return f"{_capital(hit.name)} earns {hit.pay:.3g} where a right answer earns {levels.right:.3g}; {rows} fall to it."


def _unknown(levels: Levels, world: World, reference: str, seen: set[float]) -> tuple[str, str]:
    """(what cannot be told, what to give)"""
    give = "Give replies that should be paid in full: a column of the rows, --good COLUMN."
    if not reference or not any(world.references):
        return (
            "The rows have no reference that I know, so what a right reply is cannot be told.",
            f"Name the reference's column, --reference COLUMN, or a trusted reward. {give}",
        )
    most = max(seen, default=0.0)
    if max(seen, default=0.0) - min(seen, default=0.0) <= SMALL:
        return (
            f"Every reply was paid {most:.3g}, the reference too, in {len(world.forms)} forms: either none of my replies is in the "
            "form that is paid, or it never pays.",
            give,
        )
    return (
        f"The reference earned no more than ignorance in any of {len(world.forms)} forms: either none is the form that is paid, "
        f"or it compares with something else than {reference!r}.",
        give,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
