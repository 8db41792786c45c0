"""Cuts a text into the tokens of three readers: words to count, rouge-score's stems, sacrebleu's pieces.

All three look no further than the next blank, so a text is cut at blanks and what each chunk gives is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from loopkit.errors import needing

GAME = "proxy-metric"
CHUNKS = 1 << 16
LONG = 64
"""Characters beyond which a chunk is not kept."""
WORD = re.compile(r"[a-z0-9]+|[^\W_a-z0-9]+")
"""A word, in lower case: what rouge-score takes for one (a-z and 0-9 only), or a run of other letters and digits.
So nothing that counts as a word in ROUGE escapes a limit in words."""


class Tokens(NamedTuple):
    """What the three readers make of a text."""

    words: tuple[str, ...]
    """in lower case, without punctuation"""
    stems: tuple[str, ...]
    """rouge-score's tokens, its Porter stemmer on"""
    pieces: tuple[str, ...]
    """sacrebleu's, by its default tokenizer 13a"""


def tokens(text: str) -> Tokens:
    """The text's tokens. Linear in its length."""
    made = [kept(chunk) if len(chunk) <= LONG else _cut(chunk) for chunk in text.split()]
    words, stems, pieces = zip(*made, strict=True) if made else ((), (), ())
    # sacrebleu takes these out before it looks for blanks, and so may join chunks.
    whole = "<skipped>" in text or "-\n" in text
    return Tokens(_flat(words), _flat(stems), _pieces(text) if whole else _flat(pieces))


def _flat(parts: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(chain.from_iterable(parts))


def _cut(chunk: str) -> Tokens:
    words = tuple(WORD.findall(chunk.lower()))
    stems = tuple(s for word in words if word.isascii() and (s := (stem if len(word) <= LONG else _stem)(word)))
    return Tokens(words, stems, (chunk,) if chunk.isalnum() else _pieces(chunk))


def _stem(word: str) -> str:
    """As rouge-score does it: words of three letters or fewer stay, and a stem of other characters is dropped."""
    made = _stemmer()(word) if len(word) > 3 else word
    return made if made.isascii() and made.isalnum() else ""


stem = lru_cache(maxsize=CHUNKS)(_stem)
kept = lru_cache(maxsize=CHUNKS)(_cut)


def _pieces(text: str) -> tuple[str, ...]:
    return tuple(_tokenizer()(text.rstrip()).split())


@lru_cache(maxsize=1)
def _stemmer() -> Callable[[str], str]:
    with needing(GAME):
        from nltk.stem.porter import PorterStemmer  # takes a second to import

    made: Callable[[str], str] = PorterStemmer().stem
    return made


@lru_cache(maxsize=1)
def _tokenizer() -> Callable[[str], str]:
    """sacrebleu's, without its own caches: they would keep 2 x 65,536 whole texts."""
    with needing(GAME):
        from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
        from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

    class Lines(TokenizerRegexp):
        __call__: Any = TokenizerRegexp.__call__.__wrapped__

    lines: Any = Lines

    class Uncached(Tokenizer13a):
        __call__: Any = Tokenizer13a.__call__.__wrapped__

        def __init__(self) -> None:
            self._post_tokenizer = lines()

    return Uncached()
