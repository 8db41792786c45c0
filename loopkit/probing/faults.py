"""Rewards that are no function of row and reply, or of nothing: what a number depends on besides them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from loopkit.probing.levels import SMALL, Asker, Levels
from loopkit.probing.records import Fault, Word
from loopkit.probing.runner import Paid, Runner

ROWS = 8
NOISE = 0.05
"""Of the span from ignorance to right: what differs by less is called noise, and accuses nobody."""
KINDS = ("chance", "batch", "other rows", "order", "time or state", "hash seed", "constant", "unbounded", "sign",
         "unsatisfied rows", "wrong column")  # fmt: skip


@dataclass
class Depends:
    """Asks the same in other circumstances. ``grouped`` is set where pay turns out to be relative to a group."""

    asker: Asker
    levels: Levels
    fresh_runner: Callable[[int], Runner]
    grouped: bool = False

    def faults(self) -> Iterator[Fault]:
        """Each dependence that is found. Raises Spent where the budget ends."""
        runner, w = self.asker.runner, self.asker.world
        rows = [n for n in w.numbers if w.references[n]][:ROWS] or list(w.numbers)[:ROWS]
        replies = [w.form.say(w.references[n] if k % 2 == 0 else w.wrong(n)) for k, n in enumerate(rows)]
        once, twice = runner.fresh(rows, replies), runner.fresh(rows, replies)
        if apart := self._apart(once, twice):
            yield Fault("chance", f"the same replies in the same call were paid otherwise ({apart})",
                        "Draw nothing, or seed what you draw by row and reply.", self._word(once, twice))  # fmt: skip
            return  # what follows would show the same
        alone = [runner.fresh([n], [text])[0] for n, text in zip(rows, replies, strict=True)]
        if apart := self._apart(once, alone):
            yield from self._batch(rows, replies, once, alone, apart)
        back = runner.fresh(rows[::-1], replies[::-1])[::-1]
        if not self.grouped and not self._apart(once, alone) and (apart := self._apart(once, back)):
            yield Fault("order", f"a batch the other way round was paid otherwise ({apart})",
                        "Pay each row by itself, whatever stands before it.", self._word(once, back))  # fmt: skip
        yield from self._elsewhere(rows, replies, once)

    def _batch(
        self, rows: Sequence[int], replies: Sequence[str], once: Sequence[Paid], alone: Sequence[Paid], apart: str
    ) -> Iterator[Fault]:
        """Of others' replies, as rewards relative to a group are, or of others' rows, which is a mistake."""
        runner, n = self.asker.runner, rows[0]
        w = self.asker.world
        same_row = [w.form.say(w.references[n]), w.form.say(w.wrong(n)), "", "I do not know. It is a long reply."]
        other = [same_row[0], same_row[0], f"{same_row[1]} and more of it", same_row[1]]
        relative = bool(self._apart(runner.fresh([n] * 4, same_row)[:1], runner.fresh([n] * 4, other)[:1]))
        text = w.form.say(w.references[n])
        group = runner.fresh([n] * len(rows), [text] * len(rows))[-1:]
        mixed = runner.fresh([*rows[1:], n], [text] * len(rows))[-1:]
        if self._apart(group, mixed):
            yield Fault(
                "other rows", f"a reply's pay changes with the rows that share its call ({apart}): it is compared with "
                "another row's reference or prompt",
                "Go through completions and columns together: zip(completions, answer).",
                "void",
            )  # fmt: skip
        elif relative:
            self.grouped = True
            yield Fault("group", "pay is relative to the other replies to the same prompt, so each attack was asked in "
                        "a group with a right and a wrong answer", "Nothing to mend: train it in groups.")  # fmt: skip
        else:
            yield Fault("batch", f"in a batch replies were paid otherwise than alone ({apart})",
                        "Pay each completion by itself.", self._word(once, alone))  # fmt: skip

    def _elsewhere(self, rows: Sequence[int], replies: Sequence[str], once: Sequence[Paid]) -> Iterator[Fault]:
        """In another process: with another hash seed, and on another day."""
        with self.fresh_runner(1) as other:
            there = other.fresh(rows, replies)
            if apart := self._apart(once, there):
                text = f"another process pays otherwise ({apart}): by the order of a set, hash(), or earlier calls"
                cure = "Sort sets before use, take hashlib for hash(), and keep nothing between calls."
                yield Fault("hash seed", text, cure, self._word(once, there))
                return
            other.disturb()
            later = other.fresh(rows, replies)
            if apart := self._apart(there, later):
                yield Fault("time or state", f"a day later, with other luck, pay differs ({apart})",
                            "Read no clock and draw nothing.", self._word(there, later))  # fmt: skip

    def _apart(self, first: Sequence[Paid], second: Sequence[Paid]) -> str:
        """The first difference, in words; empty where there is none."""
        for a, b in zip(first, second, strict=True):
            if a.value is None or b.value is None:
                if (a.value is None) != (b.value is None) and not (a.kind or b.kind):
                    return f"{a.value} and {b.value}"
            elif abs(a.value - b.value) > SMALL * max(1.0, abs(a.value)):
                return f"{a.value:.4g} and {b.value:.4g}"
        return ""

    def _word(self, first: Sequence[Paid], second: Sequence[Paid]) -> Word | None:
        """Void, where the difference is more than noise."""
        gaps = [abs(a.value - b.value) for a, b in zip(first, second, strict=True)
                if a.value is not None and b.value is not None]  # fmt: skip
        scale = self.levels.span if self.levels.known else 1.0
        return "void" if not gaps or max(gaps) > NOISE * scale else None
