"""What the probe knows of the rows when it attacks: questions, references, candidate answers, and the paid form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from loopkit.probing.forms import PLAIN, THINKING, Form, tags
from loopkit.rewards import columns as of_row

LUCKY = 0.1
"""What one answer's luck may be above the most common reference's share, in a sample of rows."""
LISTED = 60
"""Candidate answers in a list."""
SENTENCE, MOSTLY = 4, 0.6
"""Words of a sentence, and the share of them that stand elsewhere, from which on it is made of what stands there."""
NONE_OF_THEM = "none of these"


@dataclass
class World:
    """``rows``: those asked about. ``references``: (N,) what each compares with, as text; empty where it has none.

    ``form``: the one in which a right answer is paid, once that is known.
    """

    rows: Sequence[of_row.Row]
    asked: Sequence[str]
    references: Sequence[str]
    literals: Sequence[str] = ()
    form: Form = PLAIN
    forms: Sequence[Form] = field(default_factory=lambda: [PLAIN])

    @property
    def numbers(self) -> range:
        return range(len(self.rows))

    @cached_property
    def common(self) -> list[str]:
        """References, the most common first."""
        return [text for text, _ in Counter(r for r in self.references if r).most_common(LISTED)]

    @cached_property
    def candidates(self) -> list[str]:
        """What the answer may be: the references of all rows; of few kinds or many, at most LISTED."""
        return sorted(self.common) or ["yes", "no"]

    @cached_property
    def few(self) -> bool:
        """Whether answers come from a small set, so that one can be right by luck."""
        there = [r for r in self.references if r]
        return len(set(there)) <= max(10, len(there) // 10)

    def luck(self, said: str) -> float:
        """What a reply that names an answer may earn by luck, as a share of a right one; 0 where it names none of them.

        One answer of a few is right as often as it is the reference, and a little more in a sample.
        """
        there = {r for r in self.references if r}
        return self.most_common if self.few and any(r.lower() in said.lower() for r in there) else 0.0

    @cached_property
    def most_common(self) -> float:
        """What always saying the most common reference may earn, as a share of a right answer's pay."""
        there = [r for r in self.references if r]
        share = Counter(there).most_common(1)[0][1] / len(there) if there else 0.0
        return min(share + LUCKY, (1 + share) / 2)

    @cached_property
    def extractive(self) -> bool:
        """Whether references are mostly made of their questions' words, as summaries are: then to repeat the question
        is to be right in part.
        """
        shares = []
        for asked, reference in zip(self.asked, self.references, strict=True):
            words = _words(reference)
            if len(words) >= SENTENCE:
                shares.append(sum(w in set(_words(asked)) for w in words) / len(words))
        return len(shares) > len(self.rows) / 2 and sum(shares) / len(shares) >= MOSTLY

    def repeats(self, n: int, said: str) -> bool:
        """Whether a reply is mostly made of the words of its question, and a sentence at least."""
        words, there = _words(said), set(_words(self.asked[n]))
        return len(words) >= SENTENCE and sum(w in there for w in words) / len(words) >= MOSTLY

    @cached_property
    def tags(self) -> list[str]:
        return tags([*self.asked[:5], *self.literals])

    @cached_property
    def words(self) -> list[str]:
        """Words of all references and of lists in the rows, the most common first."""
        texts = list(self.references)
        for row in self.rows:
            texts += [str(v) for value in row.values() if isinstance(value, (list, tuple)) for v in value
                      if isinstance(v, str)]  # fmt: skip
        found = Counter(w for text in texts for w in re.findall(r"[\w'-]{2,}", text))
        return [w for w, _ in found.most_common(120)]

    def wrong(self, n: int) -> str:
        """Another row's reference that is none of this row's; else a word that is no answer."""
        total = len(self.references)
        for k in range(1, total):
            other = self.references[(n + 7 * k) % total]
            if other and not same(other, self.references[n]):
                return other
        return NONE_OF_THEM

    def options(self, n: int) -> list[str]:
        """What the row's question offers to choose from: ``cat, dog or owl``; (A), (B); the candidates, if few."""
        text = self.asked[n]
        if found := re.search(r"((?:[\w'-]+, )+[\w'-]+,? (?:or|and) [\w'-]+)", text):
            return re.split(r",? (?:or|and) |, ", found.group(1))
        letters = re.findall(r"(?m)^\s*\(?([A-J])[).:]", text)
        return letters or (self.candidates if self.few else [])

    def first_number(self, n: int) -> str:
        return str((re.findall(r"-?\d+(?:\.\d+)?", self.asked[n]) or ["0"])[0])

    def last_number(self, n: int) -> str:
        return str((re.findall(r"-?\d+(?:\.\d+)?", self.asked[n]) or ["0"])[-1])

    def word(self, n: int, k: int) -> str:
        words: list[str] = re.findall(r"[\w'-]+", self.asked[n]) or ["yes"]
        return words[k] if -len(words) <= k < len(words) else words[-1]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def same(first: str, second: str) -> bool:
    """Whether two answers are one: equal but for case, spaces and marks around them, or equal as numbers."""
    a, b = _plain(first), _plain(second)
    if a == b:
        return True
    x, y = _value(a), _value(b)
    return x is not None and x == y


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .,;:!?$()[]{}\"'`*")


def _value(text: str) -> Fraction | None:
    try:
        return Fraction(text.replace(",", "").replace(" ", "").rstrip("%")) if len(text) < 40 else None
    except (ValueError, ZeroDivisionError):
        return None


def thinking(names: Sequence[str]) -> list[str]:
    """Those of the tags in which one thinks."""
    return [n for n in names if THINKING.search(n)]


def built(
    rows: Sequence[of_row.Row], prompt: str, reference: str, literals: Sequence[str], short: bool = True
) -> World:
    """A world of these rows; ``short`` takes the final answer out of a worked reference."""
    return World(
        rows, [of_row.asked(row, prompt) for row in rows], [text_of(row, reference, short) for row in rows], literals
    )


def text_of(row: of_row.Row, column: str, short: bool) -> str:
    """The row's first reference as text; empty where it has none."""
    value: Any = row.get(column) if column else None
    there = of_row.texts(value)
    return "" if not there else of_row.final(there[0]) if short else there[0]
