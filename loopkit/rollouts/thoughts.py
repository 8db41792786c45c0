"""A turn's thoughts, parted from its answer once: games, channels and detectors see the answer.

As models that think write it: a block at the start of a turn, ``<think>…</think>``, or one that the chat template
opened already, so that the turn begins within it. A marker further on is a part of the answer.
"""

from __future__ import annotations

import re
from dataclasses import replace

from loopkit.records import Turn

MARKERS = {"<think>": "</think>", "<thinking>": "</thinking>", "[THINK]": "[/THINK]"}
"""What opens a block -> what closes it."""
Markers = tuple[str, str] | None
"""What opens and closes a block of a model that has markers of its own (``run.markers``)."""


def known(more: Markers) -> dict[str, str]:
    """MARKERS, and those of an option."""
    return MARKERS if more is None else {**MARKERS, more[0]: more[1]}


def opened(prompt: str, more: Markers = None) -> str | None:
    """The marker that closes the block which a prompt ends in; None where it ends in none."""
    return next((closes for opens, closes in known(more).items() if prompt.rstrip().endswith(opens)), None)


def block(said: str, more: Markers = None) -> tuple[str, int] | None:
    """What closes the block that opens a text, and where it begins; None: it opens with none."""
    start = re.match(rf"\s*({'|'.join(map(re.escape, known(more)))})", said)
    return start and (known(more)[start[1]], start.end())


def part(said: str, closes: str | None = None, more: Markers = None) -> tuple[str, str]:
    """What was said -> (thoughts, answer); joined they are ``said`` again.

    The thoughts hold the markers and the space below them. A block that is never closed is thoughts to the end, and
    the answer is empty. ``closes`` is ``opened`` of the prompt.
    """
    begins = 0
    if closes is None:
        if (start := block(said, more)) is None:
            return "", said
        closes, begins = start
    at = said.find(closes, begins)
    if at < 0:
        return said, ""
    answer = said[at + len(closes) :].lstrip()
    return said[: len(said) - len(answer)], answer


def parted(turn: Turn, more: Markers = None) -> Turn:
    """The turn with its thoughts apart; one whose policy did that stays as it is."""
    if turn.thoughts is not None:
        return turn
    thoughts, answer = part(turn.text, None, more)
    return replace(turn, text=answer, thoughts=thoughts)
