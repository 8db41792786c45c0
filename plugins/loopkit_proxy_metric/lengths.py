"""Lengths in a policy's tokens, as the paper measures them; the game counts words where no tokenizer is named."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from loopkit.errors import needing
from loopkit.policy.tiny import BUNDLED
from loopkit_proxy_metric.tokens import GAME

FILE = "tokenizer.json"


def file_of(name: str) -> Path:
    """The tokenizer.json that a name means: that file, or of a model's directory; "tiny" is the embedded policy's.

    Raises ValueError where there is none.
    """
    path = BUNDLED if name == "tiny" else Path(name)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"tokenizer {name!r}: there is no {path} (name tiny, a model's directory, or a {FILE})")
    return path


def fingerprint(name: str) -> str:
    """A hash of the tokenizer: another one counts otherwise."""
    return hashlib.sha256(file_of(name).read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=1024)
def article(name: str, text: str) -> int:
    """``length`` of an article, kept."""
    return length(name, text)


def length(name: str, text: str) -> int:
    """How many of the tokenizer's tokens a text has; those that begin or end a text are not among them."""
    whole = text.strip().encode("utf-8", "replace").decode()  # it reads no half surrogates
    return len(_tokenizer(name).encode(whole, add_special_tokens=False).ids)


@lru_cache(maxsize=2)
def _tokenizer(name: str) -> Any:
    with needing(GAME):
        from tokenizers import Tokenizer
    found = Tokenizer.from_file(str(file_of(name)))
    found.no_truncation()
    found.no_padding()
    return found
