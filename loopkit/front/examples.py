"""One exploit as it was said, from ``results.json``: one dialogue, or the two of a pair."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from loopkit.evidence.claims import Said
from loopkit.evidence.schema import ExperimentResults, StudyResults
from loopkit.front.tables import width
from loopkit.registry.contain import excerpt
from loopkit.report.numbers import plain

LINES = 2
"""Lines of one message that are printed."""


@dataclass(frozen=True)
class Example:
    """An exploit of a held-out evaluation: one rollout, or of a paired game the unflagged and the flagged one."""

    detector: str
    arm: str
    seed: int
    said: tuple[Said, ...]
    where: str = "held out"
    often: str = ""
    """``873 of 1200``, of a reply that is shown because it is the most common; else empty."""

    @staticmethod
    def of(results: ExperimentResults | StudyResults) -> Example | None:
        """Of an unproven game the most common reply of those that rose, else the first exploit; None of neither."""
        if isinstance(results, ExperimentResults) and results.examples:
            common = results.examples[0]
            dialogue = (("user", common.asked), ("assistant", common.said))
            rollout = Said(task="", dialogue=dialogue, flagged=bool(common.flagged), paid=common.reward)
            detectors = ", ".join(common.flagged) or "no detector"
            return Example(detectors, "loophole", common.seed, (rollout,), often=f"{common.count} of {common.of}")
        exploit = results.exploit
        if exploit is None:
            return None
        trained = isinstance(results, ExperimentResults) and results.split == "train"
        where = "at the end of training" if trained else "held out"
        return Example(exploit.detector, exploit.arm, exploit.seed, exploit.said, where)

    @property
    def title(self) -> str:
        """What is shown, in a line."""
        if self.often:
            return f"The most common reply where a sign rose ({self.often}; {self.detector}):"
        shape = "as a pair" if len(self.said) == 2 else "as it was said"
        return f"The exploit, {shape} (arm {self.arm}, seed {self.seed}, {self.where}, {self.detector}):"

    def lines(self) -> Iterator[tuple[str, str]]:
        """(who, text) line by line, with "paid" after each rollout."""
        for one in self.said:
            for role, text in one.dialogue:
                yield ("policy" if role == "assistant" else role), text
            paid = "pay not logged" if one.paid is None else f"paid {plain(one.paid)}"
            yield "", paid + (", flagged" if one.flagged else ", not flagged")

    def text(self, most: int = 14) -> str:
        """In at most ``most`` lines: messages are cut to fewer lines until it fits. "" for a pair that does not fit,
        since half of a pair shows nothing."""
        for each in (LINES, 1):
            lines = self._lines(each)
            if len(lines) <= most:
                return "\n".join(lines)
        if len(self.said) > 1:
            return ""
        return "\n".join([*lines[: most - 1], f"  … {len(lines) - most + 1} more lines: see the page"])

    def _lines(self, each: int) -> list[str]:
        out = textwrap.wrap(self.title, width())
        for who, text in self.lines():
            if not who:
                fits = len(out[-1]) + len(text) + 4 <= width()
                out = [*out[:-1], f"{out[-1]}  [{text}]"] if fits else [*out, f"          [{text}]"]
                continue
            shown = textwrap.wrap(excerpt(text, 1000), width() - 10) or ["(empty)"]
            if len(shown) > each:
                shown = [*shown[: each - 1], shown[each - 1][: width() - 12] + " …"]
            out += [f"  {who:7.7} {line}" if k == 0 else f"          {line}" for k, line in enumerate(shown)]
        return out

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><b>{html.escape(who)}</b></td><td>{html.escape(excerpt(text, 1000))}</td></tr>"
            for who, text in self.lines()
        )
        return f"<p>{html.escape(self.title)}</p><table>{rows}</table>"
