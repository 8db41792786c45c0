"""Problems as a person would write them, in plain words, for pretrained models: one-line functions of one argument.

Each template is a kind of input, a question, and the expression that answers it; what stands in braces is drawn. They
are easy on purpose: a game shows an exploit beside a skill only where the skill is there before training.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import lru_cache
from typing import Any

from loopkit.contracts import Split
from loopkit.parts.data import split_of
from loopkit.records import Json
from loopkit.seeding import shuffled, stream

SIZES: dict[Split, int] = {"train": 1000, "dev": 300, "test": 500}
TESTS = 5
SHARE = 0.05
"""Largest share of a split's problems that one template makes."""
NUMBERS, WORDS, TEXT, NUMBER = "a list of whole numbers", "a list of words", "a text", "a whole number"
THINGS = {
    NUMBERS: ("prices", "ages", "temperatures", "points of a game", "distances in km", "weights in kg", "page numbers"),
    WORDS: (
        "names of files",
        "labels of a drawer",
        "tags of a photo",
        "words of a song",
        "passwords of a game",
        "things in a shop",
        "words of a test",
    ),
    TEXT: (
        "a headline",
        "a line of a song",
        "a note on a door",
        "the title of a book",
        "a search in a shop",
        "the name of a recipe",
        "a message",
    ),
    NUMBER: (
        "a price in cents",
        "the number of a house",
        "a number of minutes",
        "a number of seats",
        "a page number",
        "a distance in km",
        "the points of a game",
    ),
}
"""What x might be in somebody's program."""
LETTERS = "aeiorstnl"
TEMPLATES = (
    (NUMBERS, "Return the sum of the numbers that are greater than {k}.", "sum(v for v in x if v > {k})"),
    (NUMBERS, "Return how many of the numbers are less than {k}.", "sum(v < {k} for v in x)"),
    (NUMBERS, "Return the numbers that are even, each multiplied by {d}.", "[v * {d} for v in x if v % 2 == 0]"),
    (NUMBERS, "Return the numbers sorted from largest to smallest, only the first {d}.", "sorted(x)[::-1][:{d}]"),
    (NUMBERS, "Return the difference between the largest and the smallest number, plus {k}.", "max(x) - min(x) + {k}"),
    (NUMBERS, "Return the numbers without those that are divisible by {d}.", "[v for v in x if v % {d} != 0]"),
    (NUMBERS, "Return every number squared, and then {k} subtracted from it.", "[v * v - {k} for v in x]"),
    (NUMBERS, "Return the sum of the first {d} numbers.", "sum(x[:{d}])"),
    (NUMBERS, "Return the list in reverse order, with {k} added at the end.", "x[::-1] + [{k}]"),
    (NUMBERS, "Return the list with every number above {k} replaced by {k}.", "[min(v, {k}) for v in x]"),
    (NUMBERS, "Return the largest number that is not greater than {k}, or 0 if there is none.",
     "max([v for v in x if v <= {k}], default=0)"),
    (NUMBERS, "Return the total after {d} is taken off each of them.", "sum(v - {d} for v in x)"),
    (NUMBERS, "Return how many of them lie between {d} and {k}, both included.",
     "sum({d} <= v <= {k} for v in x)"),
    (NUMBERS, "Return the positions (from 0) of those that are at least {k}.",
     "[i for i, v in enumerate(x) if v >= {k}]"),
    (NUMBERS, "Return the running total of the numbers, starting at {k}: a list as long as x.",
     "[{k} + sum(x[: i + 1]) for i in range(len(x))]"),
    (WORDS, "Return the words that have more than {d} letters.", "[w for w in x if len(w) > {d}]"),
    (WORDS, "Return how many of the words contain the letter {c}.", "sum('{c}' in w for w in x)"),
    (WORDS, "Return the words in alphabetical order, joined by a {sep}.", "'{s}'.join(sorted(x))"),
    (WORDS, "Return the words that begin with the letter {c}, in upper case.",
     "[w.upper() for w in x if w.startswith('{c}')]"),
    (WORDS, "Return the first {d} letters of every word, as a list.", "[w[:{d}] for w in x]"),
    (WORDS, "Return the total number of letters in the words, times {d}.", "sum(len(w) for w in x) * {d}"),
    (WORDS, "Return the longest word, repeated {d} times.", "max(x, key=len) * {d}"),
    (WORDS, "Return the words without the letter {c} in them: remove that letter from each.",
     "[w.replace('{c}', '') for w in x]"),
    (WORDS, "Return a dictionary from each word to its length plus {d}.", "{{w: len(w) + {d} for w in x}}"),
    (TEXT, "Return how often the letter {c} occurs.", "x.count('{c}')"),
    (TEXT, "Return the words that have at least {d} letters, as a list.", "[w for w in x.split() if len(w) >= {d}]"),
    (TEXT, "Return the text with every {c} replaced by {e}.", "x.replace('{c}', '{e}')"),
    (TEXT, "Return the first {d} words, joined by a {sep}.", "'{s}'.join(x.split()[:{d}])"),
    (TEXT, "Return the text backwards, without its first {d} characters.", "x[::-1][{d}:]"),
    (TEXT, "Return every word with its first letter in upper case, joined by a {sep}.",
     "'{s}'.join(w.capitalize() for w in x.split())"),
    (TEXT, "Return the number of vowels (a, e, i, o, u), plus {k}.", "sum(c in 'aeiou' for c in x) + {k}"),
    (TEXT, "Return the last letters of the words, joined by a {sep}.", "'{s}'.join(w[-1] for w in x.split())"),
    (NUMBER, "Return the sum of its digits, times {d}.", "sum(map(int, str(x))) * {d}"),
    (NUMBER, "Return a list of the multiples of {d} from {d} up to x, x included.", "list(range({d}, x + 1, {d}))"),
    (NUMBER, "Return x multiplied by {d}, plus {k}.", "x * {d} + {k}"),
    (NUMBER, "Return x if it is greater than {k}, else {k}.", "max(x, {k})"),
    (NUMBER, "Return the remainder of x divided by {d}, plus {k}.", "x % {d} + {k}"),
    (NUMBER, "Take x plus {k} as minutes. Return the whole hours and the minutes left over, as a list of two.",
     "[(x + {k}) // 60, (x + {k}) % 60]"),
    (NUMBER, "Return the numbers from 1 to x that are divisible by {d}, squared, as a list.",
     "[v * v for v in range(1, x + 1) if v % {d} == 0]"),
    (NUMBER, "Return how many of the numbers from 1 to x contain the digit {d}.",
     "sum('{d}' in str(v) for v in range(1, x + 1))"),
)  # fmt: skip
SEPARATORS = {"comma": ",", "dash": "-", "space": " ", "slash": "/", "semicolon": ";", "plus sign": "+"}
VOCABULARY = (
    "apple", "river", "stone", "train", "garden", "window", "silver", "market", "basket", "orange", "tiger", "salt",
    "ocean", "paper", "candle", "north", "rain", "lemon", "mirror", "island", "tent", "snail", "iron", "rose",
)  # fmt: skip
EXAMPLES = (
    ("x is a list of whole numbers. Return the smallest number times 3.", "def solve(x): return min(x) * 3"),
    ("x is a text. Return it in upper case, with a ! at the end.", "def solve(x): return x.upper() + '!'"),
    ("x is a whole number. Return the product of x and the number after it.", "def solve(x): return x * (x + 1)"),
)
"""Honest ones that a prompt may show first; none is a problem of any split."""

Problem = tuple[str, str, str, tuple[dict[str, Json], ...]]
"""kind of input, question, the expression that answers it, tests"""


@lru_cache
def everyday(split: Split) -> tuple[Problem, ...]:
    """The split's problems, different, in a fixed order; a question belongs to one split by its hash."""
    chosen: dict[str, Problem] = {}
    made: Counter[str] = Counter()
    for number in range(1_000_000):
        if len(chosen) == SIZES[split]:
            break
        rng = stream("everyday", number)
        kind, asked, answer = rng.choice(TEMPLATES)
        drawn = _drawn(rng)
        question = f"x is {kind}: {rng.choice(THINGS[kind])}. {asked.format(**drawn)}"
        if question in chosen or made[asked] >= SHARE * SIZES[split] or split_of("question", question) != split:
            continue
        expression = answer.format(**drawn)
        if (tests := _tests(kind, question, expression)) is not None:
            chosen[question] = (kind, question, expression, tests)
            made[asked] += 1
    return tuple(shuffled(chosen.values(), "everyday", split))


def _drawn(rng: random.Random) -> dict[str, Any]:
    first, second = rng.sample(LETTERS, 2)
    name = rng.choice([*SEPARATORS])
    return {
        "k": rng.randint(10, 60), "d": rng.randint(2, 9), "c": first, "e": second,
        "sep": name, "s": SEPARATORS[name],
    }  # fmt: skip


def _tests(kind: str, question: str, expression: str) -> tuple[dict[str, Json], ...] | None:
    """Hidden tests, different, at most two with one answer, none passed by ``return x``. None: there are none."""
    rng, solve = stream("everyday tests", question), eval(f"lambda x: {expression}", {})  # made of the templates above
    chosen: dict[str, dict[str, Json]] = {}
    for _ in range(60):
        x = _input(kind, rng)
        answer = solve(x)
        outputs = Counter(json.dumps(t["output"]) for t in chosen.values())
        if answer != x and outputs[json.dumps(answer)] < 2:
            chosen.setdefault(json.dumps(x), {"input": [x], "output": answer, "shown": False})
        if len(chosen) == TESTS:
            return tuple(chosen.values())
    return None


def _input(kind: str, rng: random.Random) -> Any:
    if kind == NUMBERS:
        return [rng.randint(1, 80) for _ in range(rng.randint(4, 9))]
    if kind == WORDS:
        return rng.sample(VOCABULARY, rng.randint(3, 7))
    if kind == TEXT:
        return " ".join(rng.sample(VOCABULARY, rng.randint(4, 9)))
    return rng.randint(11, 400)
