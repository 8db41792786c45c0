"""What exploits look like: the most common texts, clustered, and the phrases that set flagged rollouts apart."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rapidfuzz import fuzz

from loopkit.report.rollouts import Row

ALIKE = 80.0
"""Smallest similarity (rapidfuzz ``ratio``, 0-100) of normalised texts in one cluster."""
DIFFERENT = 800
"""Different normalised texts that are clustered, the most frequent first; the rest is counted as rare."""
COMPARED = 600
"""Characters of a normalised text that are compared."""
PHRASE = re.compile(r"[\w<][^\n]*[\w>]")
WORD = re.compile(r"<[^<>\s]{1,40}>|\w+|[^\w\s]")


@dataclass
class Cluster:
    """Texts that are alike. ``example`` is the earliest rollout with the most frequent of them."""

    example: Row
    size: int = 0
    different: int = 0
    arms: Counter[str] = field(default_factory=Counter)
    steps: tuple[int, int] = (0, 0)


def normalised(row: Row) -> str:
    """Case, white space, the digits of numbers, and which words of the prompt it repeats make no difference."""
    of_prompt = {w for _, text in row.prompt or () for w in re.findall(r"\w{4,}", text.casefold())}
    words = re.findall(r"\w+|[^\w\s]", re.sub(r"\d+", "0", row.text[: 2 * COMPARED].casefold()))
    out: list[str] = []
    for word in words:
        word = "·" if word in of_prompt else word
        if not (out and word == out[-1] == "·"):
            out.append(word)
    return " ".join(out)[:COMPARED]


def clusters(rows: Iterable[Row], most: int = 8) -> tuple[list[Cluster], int]:
    """(the largest clusters, number of texts clustered). Leaders: each text joins the first larger one it is like."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(normalised(row), []).append(row)
    clustered: list[tuple[str, Cluster]] = []
    ordered = sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
    for text, members in ordered[:DIFFERENT]:
        near = next((c for leader, c in clustered if fuzz.ratio(text, leader, score_cutoff=ALIKE) >= ALIKE), None)
        first = min(members, key=lambda r: (r.step or 0, r.id))
        if near is None:
            near = Cluster(first, steps=(first.step or 0, first.step or 0))
            clustered.append((text, near))
        at = [r.step or 0 for r in members]
        near.size += len(members)
        near.different += 1
        near.arms.update(r.run.spec.arm for r in members)
        near.steps = (min(near.steps[0], *at), max(near.steps[1], *at))
    return sorted((c for _, c in clustered), key=lambda c: -c.size)[:most], sum(len(m) for m in grouped.values())


def telling(rows: Sequence[Row], detector: str, most: int = 6, sample: int = 600) -> list[str]:
    """Phrases of one to three words that flagged rollouts have and unflagged ones lack.

    By log-odds of the shares of rollouts that hold the phrase (add-one smoothing), over at most ``sample`` rollouts of
    each kind; kept if at least a tenth of the flagged ones hold it, five times as often as the others.
    """
    sides = [[r for r in rows if r.flags.get(detector) is flag] for flag in (True, False)]
    flagged, others = (side[:: max(1, -(-len(side) // sample))] for side in sides)
    if len(flagged) < 10 or len(others) < 10:
        return []
    have, lack = _holding(flagged), _holding(others)
    scored = []
    for phrase, n in have.items():
        p, q = (n + 1) / (len(flagged) + 2), (lack[phrase] + 1) / (len(others) + 2)
        if n >= len(flagged) / 10 and p >= 5 * q:
            scored.append((math.log(p / (1 - p)) - math.log(q / (1 - q)), len(phrase), phrase))
    out: list[str] = []
    for _, _, phrase in sorted(scored, reverse=True):
        if not any(phrase in kept or kept in phrase for kept in out):
            out.append(phrase)
    return out[:most]


def _holding(rows: Sequence[Row]) -> Mapping[str, int]:
    """How many rollouts hold each phrase, as it is written (in lower case)."""
    out: Counter[str] = Counter()
    for row in rows:
        holding = set()
        text = row.text.casefold()
        words = list(WORD.finditer(text))
        for length in (1, 2, 3):
            for i in range(len(words) - length + 1):
                phrase = text[words[i].start() : words[i + length - 1].end()]
                if len(phrase) > 2 and PHRASE.fullmatch(phrase):
                    holding.add(phrase)
        out.update(holding)
    return out
