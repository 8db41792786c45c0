"""Whether a reply gives a known answer: equal numbers, or equal text with case, blanks and outer marks set aside."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

READ = 20_000
"""Only the last so many characters of a reply are read; every pattern is linear in them."""
NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3}){1,30}|\d{1,90})(?:\.\d{1,90})?(?:[eE][-+]?\d{1,2})?"
    r"(?: ?/ ?\d{1,90}(?![\d.]))?"
)
TAGGED = re.compile(r"<answer>(.*?)</answer>", re.S | re.I)
ANSWER = re.compile(r"\banswer(?: is|:)\s*:?")
FORMS = {"<answer>": "<answer>{}</answer>", "\\boxed": "\\boxed{{{}}}", "####": "#### {}"}
"""How a prompt may ask for the answer -> the answer written so."""
LATEX = re.compile(r"\\(?:text|texttt|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\s*\{([^{}]*)\}")
SPACING = re.compile(r"\\[,;:! ]|(?<!\\)~")


def asked_form(prompt: str) -> str | None:
    """The form in which a prompt asks for the answer, a key of FORMS; None where it asks for none."""
    return next((form for form in FORMS if form in prompt), None)


def same(reply: str, truths: Sequence[str], form: str | None = None) -> bool:
    """Whether the reply's answer is one of ``truths``.

    Where a ``form`` was asked for (a key of FORMS) the answer is what stands in it last, and a reply without it gives
    none. Else it is what stands in the last ``<answer>…</answer>``, else in the last ``\\boxed{…}``, else after the
    last ``####``; else it is looked for in the whole reply. LaTeX's ``\\text{…}`` and its like are their text.

    A truth that is a number equals the answer's last number, as an exact fraction: 1,200 = 1200.0 = 1.2e3, 0.5 = 1/2.
    Any other truth equals the answer's text, or, of a reply that marks no answer, the whole, its last line, or what
    follows its last "answer is" or "answer:".
    """
    text = reply[-READ:]
    given = marked(text, form)
    if given is None and form is not None:
        return False
    found = number(text if given is None else given)
    words = {normal(part) for part in ([given] if given is not None else _parts(text))}
    for truth in truths:
        wanted = exactly(truth)
        if found == wanted if wanted is not None else normal(truth) in words:
            return True
    return False


def marked(text: str, form: str | None = None) -> str | None:
    """The answer that a reply marks as such, in the ``form`` or in any; or None."""
    if form in (None, "<answer>") and (tagged := TAGGED.findall(text)):
        return plain(str(tagged[-1]))
    start = text.rfind("\\boxed{") if form in (None, "\\boxed") else -1
    if start >= 0:
        depth, begin = 0, start + len("\\boxed")
        for i in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                return plain(text[begin + 1 : i])
    _, mark, after = text.rpartition("####") if form in (None, "####") else ("", "", "")
    return plain(after) if mark else None


def plain(latex: str) -> str:
    """An answer without LaTeX's boxes for text and its spaces: ``\\text{Yes},\\, no`` is ``Yes, no``."""
    while (bare := LATEX.sub(r"\1", latex)) != latex:
        latex = bare
    return SPACING.sub(" ", latex)


def number(text: str) -> Fraction | None:
    """The last number in a text."""
    found = NUMBER.findall(text)
    return _fraction(found[-1]) if found else None


def exactly(text: str) -> Fraction | None:
    """The number that a text is, and nothing but it (a currency sign or % aside); else None."""
    bare = text.strip().strip("$€£% ")
    return _fraction(bare) if NUMBER.fullmatch(bare) else None


def normal(text: str) -> str:
    """The text less case, width and kind of blanks, blanks beside commas, and marks at its ends."""
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).replace(" ,", ",").replace(", ", ",")
    return words.strip(" .,;:!?\"'`*()[]{}$")


def _parts(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    after = ANSWER.split(unicodedata.normalize("NFKC", text).casefold())
    return [text, *lines[-1:], *(after[-1:] if len(after) > 1 else [])]


def _fraction(text: str) -> Fraction | None:
    top, slash, bottom = text.replace(",", "").replace("−", "-").replace(" ", "").partition("/")
    try:
        return Fraction(top) / (Fraction(bottom) if slash else 1)
    except (ValueError, ZeroDivisionError):
        return None
