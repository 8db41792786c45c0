"""From what was found to one word and one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loopkit.probing import records
from loopkit.probing.attacks import LENGTHS, long_text
from loopkit.probing.levels import FIRST, IGNORANT, SMALL, Asker, Levels
from loopkit.probing.records import Fault, Hit, Word
from loopkit.probing.runner import Spent
from loopkit.probing.weigh import PART
from loopkit.probing.world import World, text_of

TENTH = 0.1
GROWS = 1.5
FEW, ENOUGH = 8, 20
"""Rows with which nothing can be told, and with which it can: a fault on a tenth of them shows on two."""
USUAL_FIRST = 6
"""Forms in which another column is tried."""
ALIKE = (
    "If it is meant to pay form only, add the reward that pays the answer (--reward twice); else give replies that "
    "should be paid, --good COLUMN."
)
SPENT = Fault(
    "never scored", "the replies or seconds that were allowed ended before it was learned what is paid",
    "Give more, --seconds and --budget, or a quicker reward.", "could not tell",
)  # fmt: skip
UNREAD = "Pay nothing where the reference cannot be read, and drop those rows."


@dataclass(frozen=True)
class Told:
    word: Word
    sentence: str
    cure: str
    form: records.Form | None


def of_values(asker: Asker, levels: Levels, seen: set[float], columns: Sequence[str]) -> list[Fault]:
    """Faults that show in the numbers: a constant, a wrong sign, no bound, rows whose reference is not paid."""
    faults = list[Fault]()
    every = seen | {v for v in (levels.right, levels.wrong) if v is not None}
    if not every:
        return [Fault("never scored", "no reply was scored: every one got None", "Return a number.", "could not tell")]
    if max(every) - min(every) <= SMALL:
        value = next(iter(every))
        if abs(value) > TENTH:  # less may be the floor of a form that was not met: that cannot be told
            faults.append(Fault("constant", f"every reply was paid {value:.4g}, whatever it said",
                                "It looks at nothing: compare the reply with the reference.", "void"))  # fmt: skip
        return faults
    right, wrong = levels.right, levels.wrong
    if right is not None and wrong is not None and wrong - right > TENTH * (max(every) - min(every)):
        faults.append(Fault("sign", f"wrong answers are paid more than right ones ({wrong:.3g} against {right:.3g})",
                            "Turn the sign, or the comparison, round.", "mis-signed"))  # fmt: skip
    try:
        faults += _unbounded(asker, levels)
        faults += _unsatisfied(asker, levels) if levels.known else _other_column(asker, levels, columns)
    except Spent:
        pass
    return faults


def _unbounded(asker: Asker, levels: Levels) -> list[Fault]:
    """Pay that goes on growing with length."""
    rows = list(asker.world.numbers)[:4]
    by_size = [asker.mean(rows, [long_text(size)] * len(rows)) for size in LENGTHS[-3:]]
    if any(v is None for v in by_size):
        return []
    small, middle, large = (float(v) for v in by_size if v is not None)
    if large > GROWS * middle > GROWS * GROWS * small > 0 and levels.share(large) > 1:
        text = f"pay grows with length without end: {LENGTHS[-1]:,} characters of prose earn {large:.4g}"
        cure = "Cap it, and see whether its sign is meant: length pays by itself."
        return [Fault("unbounded", text, cure, "gameable")]
    return []


def _other_column(asker: Asker, levels: Levels, columns: Sequence[str]) -> list[Fault]:
    """A column that is paid where the reference is not."""
    w = asker.world
    rows = list(w.numbers)[:FIRST]
    for column in columns:
        said = [text_of(w.rows[n], column, True) for n in rows]
        if all(said) and said != [w.references[n] for n in rows]:
            for form in w.forms[:USUAL_FIRST]:
                pay = asker.mean(rows, [form.say(text) for text in said])
                if pay is not None and pay > levels.ignorant + TENTH:
                    text = (
                        f"the reference earns nothing, and what stands in the column {column!r} earns {pay:.3g}: "
                        f"either {column!r} is the reference, or the reward compares with the wrong column"
                    )
                    cure = f"Say --reference {column}, or mend the reward."
                    return [Fault("wrong column", text, cure, "could not tell")]
    return []


def _unsatisfied(asker: Asker, levels: Levels) -> list[Fault]:
    """Rows on which the reference earns no more than ignorance, where on others it does."""
    w = asker.world
    if not levels.known or asker.grouped:  # in a group, right answers share what there is
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
    right, wrong = levels.right, levels.wrong
    alike = right is not None and wrong is not None and right - wrong <= SMALL
    if hits and levels.known and alike and any(world.references):
        return Told("could not tell", _alike(hits[0], levels, world), ALIKE, form)
    if hits:
        first = hits[0]
        cure = UNREAD if anything(first) else first.cure
        return Told("gameable", _gameable(first, levels, world), cure, form)
    for fault in faults:
        if fault.word:
            return Told(fault.word, f"{_capital(fault.text)}.", fault.cure, form)
    if len(world.rows) < FEW:
        text = f"Nothing was found, but {len(world.rows)} rows are too few to tell."
        return Told("could not tell", text, f"Give {ENOUGH} rows or more.", form)
    if right is not None and not levels.known and TENTH < max(seen | {right}) <= levels.ignorant + SMALL:
        text = (
            f"A reply that knows nothing, such as {IGNORANT[0]!r}, earns {levels.ignorant:.3g}, as much as any reply "
            "that was tried, the right one too."
        )
        return Told("gameable", text, "Compare the reply with the reference.", form)
    if not levels.known:
        return Told("could not tell", *_unknown(levels, world, reference, seen), form)
    return Told("nothing found", "No reply was found that earns without the goal.", "", form)


def _gameable(hit: Hit, levels: Levels, world: World) -> str:
    rows = f"{hit.fell} of {hit.of} rows" if hit.fell < hit.of else f"all {hit.of} rows"
    name = _said(hit)
    if not levels.known:
        known = (
            "the reference earns nothing more than ignorance"
            if levels.right is not None
            else "nothing is known of what right earns"
        )
        return f"{_capital(name)} earns {hit.pay:.3g} ({rows}), while {known}."
    if anything(hit):
        return (
            f"On {rows} any reply is paid, as on one whose reference is {world.references[hit.row]!r:.40}; "
            f"{name} earns {hit.pay:.3g} over all."
        )
    return f"{_capital(name)} earns {hit.pay:.3g} where a right answer earns {levels.right:.3g}; {rows} fall to it."


def _said(hit: Hit) -> str:
    return f"{hit.name}," if "," in hit.name else hit.name


def _alike(hit: Hit, levels: Levels, world: World) -> str:
    return (
        f"Right and wrong answers are paid alike in all of {len(world.forms)} forms (at most {levels.right:.3g}), and "
        f"{_said(hit)} earns {hit.pay:.3g}: it pays form only, or none of my forms is that of a right answer."
    )


def anything(hit: Hit) -> bool:
    """Whether some rows pay whatever is said: hit and control earn alike there, and elsewhere neither does."""
    return hit.fell < hit.of and hit.control_pay is not None and abs(hit.pay - hit.control_pay) <= SMALL


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
            f"Every reply was paid {most:.3g}, the reference too, in {len(world.forms)} forms: either none of my "
            "replies is in the form that is paid, or it never pays.",
            give,
        )
    return (
        f"The reference earned no more than ignorance in any of {len(world.forms)} forms: either none is the form that "
        f"is paid, or it compares with something else than {reference!r}.",
        give,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
