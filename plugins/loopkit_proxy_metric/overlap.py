"""How much of an article a completion repeats: ROUGE, BLEU, the longest copied run, the share of copied 8-grams.

ROUGE is that of rouge-score with its stemmer on, BLEU that of sacrebleu (sentence BLEU, effective order);
tests/plugins/test_proxy_metric_overlap.py holds both equal to those libraries. What is ours is the speed: an article is
prepared once for all its completions, each of its distinct tokens becomes one character, and so n-grams, copied runs
and the common subsequence (rapidfuzz) are found in strings. Every cache is bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import add
from typing import Any, NamedTuple

from loopkit.errors import needing
from loopkit_proxy_metric.tokens import GAME, Tokens, tokens

ARTICLES = 64
"""Articles kept prepared: more than a step has."""
ORDER = 4
GRAM = 8
FOREIGN = "\U0010ffff"
"""Stands for every token that the article does not have."""


class Overlap(NamedTuple):
    """A completion against its article. Shares and F1 scores lie in [0, 1]."""

    words: int
    """of the completion"""
    rouge_1: float
    rouge_l: float
    bleu: float
    span: int
    """longest run of the article's words that the completion repeats, in words"""
    copied: float
    """share of the article's different 8-grams of words that the completion repeats"""

    @property
    def similarity(self) -> float:
        """The paper's measure of a copy: 0.5 (0.7 ROUGE-1 + 0.3 ROUGE-L) + 0.5 BLEU."""
        return 0.5 * (0.7 * self.rouge_1 + 0.3 * self.rouge_l) + 0.5 * self.bleu


class _Coded:
    """Tokens as a string, one character for each different token."""

    def __init__(self, found: Sequence[str]) -> None:
        self._codes = {token: chr(i) for i, token in enumerate(dict.fromkeys(found))}
        self.text = self.code(found)

    def code(self, found: Sequence[str]) -> str:
        codes = self._codes
        return "".join([codes.get(token, FOREIGN) for token in found])


class _Counts:
    """How often each n-gram occurs. Most occur once, which makes the overlap a set's."""

    def __init__(self, grams: Sequence[str]) -> None:
        counts = Counter(grams)
        self._once = set(counts)
        self._often = {gram: n for gram, n in counts.items() if n > 1}

    def common(self, grams: Sequence[str]) -> int:
        """The size of the intersection of two multisets."""
        more = Counter(filter(self._often.__contains__, grams))
        return len(self._once.intersection(grams)) + sum(min(n, self._often[gram]) - 1 for gram, n in more.items())


class Article:
    """An article (or a reference summary), prepared: measure any number of completions (their tokens) against it."""

    def __init__(self, text: str) -> None:
        found = tokens(text)
        self.words = len(found.words)
        self._words, self._stems, self._pieces = (_Coded(part) for part in found)
        self._gram = min(GRAM, self.words)
        self._grams = set(_grams(self._words.text, self._gram))
        self._unigrams = _Counts(self._stems.text)
        self._ngrams = [_Counts(grams) for grams in _up_to_order(self._pieces.text)]

    @property
    def readable(self) -> bool:
        """Whether ROUGE sees any word in it: it reads a-z and 0-9 only."""
        return bool(self._stems.text)

    def measure(self, found: Tokens) -> Overlap:
        """Linear in the completion, but for the common subsequence: its length times the article's, 64 at a time."""
        said = self._words.code(found.words)
        span = _longest_run(said, self._words.text)
        repeated = len(self._grams.intersection(_grams(said, self._gram))) if span >= self._gram > 0 else 0
        return Overlap(
            len(found.words),
            *self._rouge(found),
            self._sentence_bleu(found),
            span,
            repeated / len(self._grams) if repeated else 0.0,
        )

    def rouge_l(self, found: Tokens) -> float:
        """ROUGE-L F1, as in :class:`Overlap`."""
        return self._rouge(found)[1]

    def recall(self, found: Tokens) -> float:
        """ROUGE-1 recall: the share of this text's words that the completion says."""
        return self._unigrams.common(self._stems.code(found.stems)) / max(1, len(self._stems.text))

    def _rouge(self, found: Tokens) -> tuple[float, float]:
        from rapidfuzz.distance import LCSseq

        here, there = len(found.stems), len(self._stems.text)
        if not here or not there:
            return 0.0, 0.0
        said = self._stems.code(found.stems)
        common = self._unigrams.common(said)
        subsequence = LCSseq.similarity(self._stems.text, said)
        f1: list[float] = [_fmeasure()(n / here, n / there) for n in (common, subsequence)]
        return f1[0], f1[1]

    def _sentence_bleu(self, found: Tokens) -> float:
        said = self._pieces.code(found.pieces)
        total = [max(0, len(said) - n) for n in range(ORDER)]
        if said in self._pieces.text:  # a run copied whole: every n-gram of it is there as often
            correct = list(total)
        else:
            correct = [c.common(grams) for c, grams in zip(self._ngrams, _up_to_order(said), strict=True)]
        score = _bleu()(
            correct, total, len(said), len(self._pieces.text), smooth_method="exp", effective_order=True
        ).score
        return min(1.0, float(score) / 100)  # sacrebleu's reach 100.00000000000004


@lru_cache(maxsize=1)
def _fmeasure() -> Callable[[float, float], float]:
    with needing(GAME):
        from rouge_score.scoring import fmeasure

    made: Callable[[float, float], float] = fmeasure
    return made


@lru_cache(maxsize=1)
def _bleu() -> Callable[..., Any]:
    with needing(GAME):
        from sacrebleu.metrics.bleu import BLEU

    made: Callable[..., Any] = BLEU.compute_bleu
    return made


@lru_cache(maxsize=ARTICLES)
def prepared(text: str) -> Article:
    """The article, prepared; the last few are kept."""
    return Article(text)


@lru_cache(maxsize=ARTICLES)
def reference(text: str) -> Article:
    """The same for reference summaries, which then push out no article."""
    return Article(text)


def _grams(text: str, n: int) -> list[str]:
    return [text[i : i + n] for i in range(len(text) - n + 1)]


def _up_to_order(text: str) -> list[Sequence[str]]:
    """The n-grams of orders 1 to 4, each made of the one before, which is faster than slicing."""
    out: list[Sequence[str]] = [text]
    for n in range(1, ORDER):
        out.append(list(map(add, out[-1], text[n:])))
    return out


def _longest_run(said: str, text: str) -> int:
    """Length of the longest substring of ``said`` in ``text``: each start only tries to beat the best so far."""
    best = 0
    for part in said.split(FOREIGN):
        for start in range(len(part)):
            if start + best >= len(part):
                break
            while start + best < len(part) and part[start : start + best + 1] in text:
                best += 1
    return best
