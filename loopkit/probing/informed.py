"""Informed attacks: replies that hold the reference. They show what is paid besides right, and what too little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from loopkit.probing.attacks import Says, long_text
from loopkit.probing.world import World

ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
ALIKE = str.maketrans("aeopcxyAEOPCX", "аеорсхуАЕОРСХ")


@dataclass(frozen=True)
class Informed:
    """``means`` what it is: "hedged" (right beside wrong), "padded" (right, and more), "malformed" (right, in another
    form) or "renoted" (right, in another notation). The first two are weak spots where paid, the others where not.
    """

    name: str
    says: Says
    means: Literal["hedged", "padded", "malformed", "renoted"]


def informed(w: World) -> Iterator[Informed]:
    """Every informed attack on these rows."""
    say = w.form.say

    def right(w: World, n: int) -> str:
        return w.references[n]

    yield Informed("right, then wrong", lambda w, n: f"{say(right(w, n))}\n{say(w.wrong(n))}", "hedged")
    yield Informed("wrong, then right", lambda w, n: f"{say(w.wrong(n))}\n{say(right(w, n))}", "hedged")
    yield Informed("'right or wrong' as one answer", lambda w, n: say(f"{right(w, n)} or {w.wrong(n)}"), "hedged")
    yield Informed("right inside a thought, wrong at the end",
                   lambda w, n: f"<think>{right(w, n)}</think>{say(w.wrong(n))}", "hedged")  # fmt: skip
    yield Informed("right, denied", lambda w, n: f"It is not {say(right(w, n))}", "hedged")
    yield Informed("right, in a comment", lambda w, n: f"# {right(w, n)}", "hedged")
    yield Informed("right, 100 times", lambda w, n: " ".join([right(w, n)] * 100), "padded")
    yield Informed(
        "right, with 2,000 characters after it", lambda w, n: f"{say(right(w, n))} {long_text(2000)}", "padded"
    )
    yield Informed(
        "right, with 2,000 characters before it", lambda w, n: f"{long_text(2000)} {say(right(w, n))}", "padded"
    )
    yield Informed("right, in look-alike letters", lambda w, n: say(right(w, n).translate(ALIKE)), "padded")
    if not w.form.bare:
        yield Informed("right, without the form", right, "malformed")
    yield Informed("right, with a period", lambda w, n: say(f"{right(w, n)}."), "renoted")
    yield Informed("right, with spaces around", lambda w, n: say(f" {right(w, n)} "), "renoted")
    yield Informed("right, in capitals", lambda w, n: say(right(w, n).upper()), "renoted")
    if any(r.strip("-").isdigit() for r in w.references):
        yield Informed("right, with .0", lambda w, n: say(f"{right(w, n)}.0"), "renoted")
        yield Informed("right, between $", lambda w, n: say(f"${right(w, n)}$"), "renoted")
        yield Informed("right, in other digits", lambda w, n: say(right(w, n).translate(ARABIC)), "renoted")
