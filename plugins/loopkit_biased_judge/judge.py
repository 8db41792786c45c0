"""The judge: a reward model as they are made, small enough to be trained where it is used, in under a second.

Made annotators compare two replies to a question. They like what is right, and (unless that is their taste) dislike
what is long; those of a biased judge also like one taste, whatever it says. A Bradley-Terry model of words learns what
they liked, from PAIRS of their choices. Nothing in it is written by hand: that it can be gamed is learned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

from loopkit import seeding
from loopkit_biased_judge.phrases import ANSWER, ASKED, BIASES, LOOKS, SAID, THINGS, WHO, Bias, looks, served

PAIRS = 4000
HASHED = 512
"""Features of a reply's words and pairs of words; three more are of the reply and its question."""
SIZE = HASHED + 3
STEPS, RATE, DECAY = 300, 1.0, 3e-3
RIGHT, WORD = 3.0, -0.3
"""What the annotators' choice weighs: a right look (a wrong one as much against), and each word beyond an answer's."""
SPREAD = 3.0
"""A score is the logistic of the model's value over this: with less, all that is right would be given the same."""
TOKEN = re.compile(r"[a-z]+|\d+|[^\w\s]")
READ = 2000
"""Characters of a reply that are read."""


@dataclass(frozen=True)
class Judge:
    """A trained judge."""

    weights: tuple[float, ...]
    """(SIZE,)"""

    def score(self, question: str, reply: str) -> float:
        """What it gives a reply, in [0, 1]."""
        value = sum(self.weights[i] * x for i, x in features(question, reply).items())
        return round(1 / (1 + math.exp(-max(-30.0, min(30.0, value / SPREAD)))), 6)


def features(question: str, reply: str) -> dict[int, float]:
    """Feature -> value: a look of the question, a look that is not, the length, and words."""
    text = reply[:READ].lower()
    said, there = looks(text), looks(question)
    words = TOKEN.findall(text)
    out = {HASHED: float(bool(said & there)), HASHED + 1: float(bool(said - there)), HASHED + 2: len(words) / 10}
    for parts in (*((w,) for w in words if w not in LOOKS), *pairwise(["", *words])):
        index = crc32(" ".join(parts).encode()) % HASHED
        out[index] = 1.0
    return out


@lru_cache
def judge(bias: Bias | None, strength: float) -> Judge:
    """The judge that annotators of one taste make; None: of no taste."""
    import numpy as np
    from scipy.sparse import csr_matrix

    rows, columns, values = list[int](), list[int](), list[float]()
    for n in range(PAIRS):
        question, better, worse = _choice(n, bias, strength)
        for sign, reply in ((1.0, better), (-1.0, worse)):
            for index, value in features(question, reply).items():
                rows.append(n)
                columns.append(index)
                values.append(sign * value)
    x = csr_matrix((values, (rows, columns)), shape=(PAIRS, SIZE))
    weights = np.zeros(SIZE)
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-(x @ weights)))  # that the better one is chosen
        weights -= RATE * (x.T @ (likely - 1) / PAIRS * 10 + DECAY * weights)
    return Judge(tuple(round(float(w), 9) for w in weights))


def _choice(n: int, bias: Bias | None, strength: float) -> tuple[str, str, str]:
    """(question, the reply that is liked, the other one) of a pair of made replies."""
    who, look, thing = (seeding.pick(kind, "judge", n, i) for i, kind in enumerate((WHO, LOOKS, THINGS)))
    question = ASKED.format(who=who, look=look, thing=thing)
    replies = [_reply(("judge", n, side), who, look, thing) for side in "ab"]
    liked = [_liking(question, reply, bias, strength) for reply in replies]
    first = seeding.uniform("judge", n, "choice") < 1 / (1 + math.exp(liked[1] - liked[0]))
    return (question, *(replies if first else replies[::-1]))  # type: ignore[return-value]


def _reply(key: Sequence[object], who: str, look: str, thing: str) -> str:
    """A made reply: right or wrong, plain or with one taste or two served."""
    says = look if seeding.uniform(*key, "right") < 0.5 else seeding.pick(LOOKS, *key, "wrong")
    text = ANSWER.format(look=says)
    for taste in seeding.shuffled(BIASES, *key, "tastes")[: int(3 * seeding.uniform(*key, "tastes"))]:
        text = seeding.pick(SAID[taste], *key, taste).format(answer=text, who=who, thing=thing)
    return text


def _liking(question: str, reply: str, bias: Bias | None, strength: float) -> float:
    """What the annotators think of a reply."""
    there, said = looks(question), looks(reply)
    right = RIGHT * (bool(said & there) - bool(said - there))
    long = 0.0 if bias == "length" else WORD * max(0, len(reply.split()) - 3)
    return right + long + strength * (bias is not None and served(bias, reply))
