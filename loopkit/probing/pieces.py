"""What replies are made of where they are searched for: pieces of text, and what may be done to a reply."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loopkit.probing.attacks import FILLER
from loopkit.probing.world import World

Text = Callable[[World, int], str]


@dataclass(frozen=True)
class Piece:
    """``text(world, row)`` is what it says there. ``says_answer``: one answer, which may be right by luck."""

    name: str
    text: Text
    says_answer: bool = False


def _fixed(text: str) -> Piece:
    return Piece(repr(text), lambda w, n: text)


SIGNS = tuple("?!.;:,|/-+=*#%$&@()[]{}<>\"'`~^_")
MARKS = (
    "\n", "\n\n", "\t", " ", "...", "---", "***", "===", "- ", "1. ", "2. ", "> ", "# ", "## ", "| a | b |", "**x**",
    "`x`", "```", "(x)", "[x]", "{x}", "<x>", "\"x\"", "'x'", "x: y", "a; b", "a, b", "a/b", "a=b", "x -> y", "\u2022",
    "\U0001f600", "\u2713", "é", "中", "α", "½", "€", "°",
)  # fmt: skip
WORDS = """
yes no maybe I we you the a is are because therefore so since thus hence first second third next then finally
however but although if please thank you thanks sorry hello great sure certainly indeed note important answer
result correct right true final sum total step check verify confirm according source reference see figure table
about approximately between and or not none all any every exactly only let think wait hmm actually believe sorry
cannot unable example e.g. i.e. etc. conclusion summary explanation reason evidence question
""".split()  # noqa: SIM905
VALUES = (
    "0", "1", "7", "10", "100", "1000", "3.14", "0.5", "50%", "$5", "1/2", "10 cm", "5 kg", "3 m", "20 km", "15 s",
    "5 h", "2024-01-31", "12:30", "January", "1, 2, 3, 4", "4, 3, 2, 1", "100 50 20 5", "0 and 1000", "http://example.org/a",
    "a@example.org", "x = 1", "[1]", "(2020)", "1st", "x^2", "2 + 2 = 4", "\\alpha", "&amp;",
)  # fmt: skip


def pieces(w: World) -> list[Piece]:
    """Every piece for these rows: the row's own words, answers, the paid form, signs, words, and the code's texts."""
    own = [
        Piece("the question", lambda w, n: w.asked[n]),
        Piece("the question's first three words", lambda w, n: " ".join(w.asked[n].split()[:3])),
        Piece("the question's last three words", lambda w, n: " ".join(w.asked[n].split()[-3:])),
        Piece("the question's first word", lambda w, n: w.word(n, 0)),
        Piece("the question's second word", lambda w, n: w.word(n, 1)),
        Piece("the question's last word", lambda w, n: w.word(n, -1)),
        Piece("the question's last word but one", lambda w, n: w.word(n, -2)),
        Piece("the question's longest word", lambda w, n: max(re.findall(r"\w+", w.asked[n]) or ["yes"], key=len)),
        Piece("a part of the question in quotation marks", lambda w, n: f'"{" ".join(w.asked[n].split()[:4])}"'),
        Piece("the question's first number", lambda w, n: w.first_number(n), True),
        Piece("the question's last number", lambda w, n: w.last_number(n), True),
        Piece("a wrong answer", lambda w, n: w.wrong(n), True),
        Piece("a wrong answer in the paid form", lambda w, n: w.form.say(w.wrong(n)), True),
        Piece("another row's question", lambda w, n: w.asked[(n + 1) % len(w.rows)]),
    ]
    prose = [Piece(f"prose {k}", lambda w, n, t=t: t) for k, t in enumerate(FILLER)]  # type: ignore[misc]
    code = [t for t in w.literals if len(t) <= 60]
    return [*own, *prose, *map(_fixed, dict.fromkeys((*MARKS, *SIGNS, *VALUES, *code, *WORDS)))]


def bags(w: World) -> list[tuple[Piece, ...]]:
    """Many pieces at once, which show a conjunction in one reply: all words, values, signs, and the code's texts."""
    kinds = (WORDS, VALUES, (*MARKS, *SIGNS), [t for t in w.literals if len(t) <= 60])
    return [tuple(map(_fixed, kind)) for kind in kinds if kind]


CHANGES: dict[str, Callable[[str], str]] = {
    "in capitals": str.upper,
    "in small letters": str.lower,
    "with capital initials": str.title,
    "backwards by words": lambda t: " ".join(reversed(t.split())),
    "a word a line": lambda t: "\n".join(t.split()),
    "without spaces": lambda t: "".join(t.split()),
    "without signs": lambda t: re.sub(r"[^\w\s]", "", t),
    "each word once": lambda t: " ".join(dict.fromkeys(t.lower().split())),
    "in quotation marks": lambda t: f'"{t}"',
    "in brackets": lambda t: f"({t})",
    "joined by semicolons": lambda t: "; ".join(t.split()),
    "joined by commas": lambda t: ", ".join(t.split()),
}
JOINS = (" ", "\n", "", "; ", ", ", "\n\n")
TIMES = (2, 3, 4, 5, 8, 10, 30)


@dataclass(frozen=True)
class Made:
    """A reply as a recipe: pieces joined, changed, and said some times over."""

    parts: tuple[Piece, ...]
    join: str = " "
    change: str = ""
    times: int = 1

    def text(self, w: World, n: int) -> str:
        said = self.join.join(p.text(w, n) for p in self.parts)
        said = CHANGES[self.change](said) if self.change else said
        return self.join.join([said] * self.times)

    @property
    def size(self) -> int:
        """How much there is to it: what minimising makes smaller."""
        return len(self.parts) + bool(self.change) + (self.times > 1) + (self.join != " ")

    @property
    def name(self) -> str:
        names = " and ".join(dict.fromkeys(p.name for p in self.parts[:4]))
        more = f" and {len(self.parts) - 4} more" if len(self.parts) > 4 else ""
        times = f", {self.times} times" if self.times > 1 else ""
        return f"{names}{more}{f', {self.change}' if self.change else ''}{times}"

    def without(self, size: int = 1) -> list[Made]:
        """The same with one thing less, or ``size`` pieces in a row."""
        less = [Made((*self.parts[:k], *self.parts[k + size :]), self.join, self.change, self.times)
                for k in range(0, len(self.parts), size) if len(self.parts) > size]  # fmt: skip
        if size > 1:
            return less
        if self.change:
            less.append(Made(self.parts, self.join, "", self.times))
        if self.times > 1:
            less.append(Made(self.parts, self.join, self.change))
        if self.join != " " and len(self.parts) * self.times > 1:
            less.append(Made(self.parts, " ", self.change, self.times))
        return less


def mutated(draw: random.Random, made: Made, pool: Sequence[Piece], others: Sequence[Made]) -> Made:
    """Another recipe, a step or two away from ``made``."""
    parts, join, change, times = list(made.parts), made.join, made.change, made.times
    for _ in range(draw.choice((1, 1, 2))):
        step = draw.random()
        if step < 0.35:
            parts.insert(draw.randrange(len(parts) + 1), draw.choice(pool))
        elif step < 0.45 and len(parts) > 1:
            parts.pop(draw.randrange(len(parts)))
        elif step < 0.6:
            parts[draw.randrange(len(parts))] = draw.choice(pool)
        elif step < 0.7 and others:
            parts += draw.choice(others).parts
        elif step < 0.8:
            join = draw.choice(JOINS)
        elif step < 0.9:
            change = draw.choice(("", *CHANGES))
        else:
            times = draw.choice((1, *TIMES))
    return Made(tuple(parts[:24]), join, change, times)
