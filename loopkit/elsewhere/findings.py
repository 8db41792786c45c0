"""Logged dialogues -> rates with intervals, what changes over steps, and the rollouts to look at first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loopkit.contracts import ExploitDetector
from loopkit.elsewhere.formats import Log
from loopkit.elsewhere.parts import Logged
from loopkit.errors import UsageError, nearest
from loopkit.parts.code import CODE_SIGNS, holds_code
from loopkit.parts.generic import GENERIC, READ, Constant, most_common
from loopkit.records import Estimate, Json
from loopkit.rollouts.scoring import flag, readable
from loopkit.rollouts.thoughts import part
from loopkit.stats.means import clustered_change, clustered_mean
from loopkit.stats.rates import gap, share

WINDOWS = 12
"""Points of a curve over steps, at most."""
EXAMPLES = 5
TRUSTED = "disagreement"
EMPTY = "empty"
MEANINGS = {
    TRUSTED: "Paid at least half of what the reward column reaches, and less than half by the trusted one.",
    EMPTY: "No letter or digit in any turn, no tool call; where the reward is known, paid at least half of its reach.",
}
"""Of the flags that are no detector's."""
Flags = list[bool | None]
Found = dict[str, tuple[ExploitDetector | None, Flags, list[dict[str, Json]]]]
"""Detector -> (itself, or None of those in MEANINGS; its flags (B,); the clues it read (B,))."""


@dataclass(frozen=True)
class Rate:
    """A detector over a log. ``early`` and ``late`` are the first and last third of the steps, ``change`` their
    difference with its own interval; all None where there are fewer than two steps.
    """

    name: str
    meaning: str
    rate: Estimate | None
    early: Estimate | None
    late: Estimate | None
    change: Estimate | None
    curve: Sequence[tuple[int, int, Estimate | None]]
    """(first step, last step, rate) of each window."""
    flagged: int
    abstained: int
    first: int | None
    """The earliest flagged dialogue: its place in the log's rows."""


@dataclass(frozen=True)
class Number:
    """A column of numbers over a log: its mean, and as for ``Rate``."""

    name: str
    mean: Estimate | None
    early: Estimate | None
    late: Estimate | None
    change: Estimate | None


@dataclass(frozen=True)
class Audit:
    """All that was found in a log. ``flags``: by detector, (B,) over its rows, for the examples."""

    rows: Sequence[Logged]
    files: Sequence[str]
    formats: Sequence[str]
    skipped: Sequence[tuple[str, str]]
    steps: tuple[int, int] | None
    prompts: int | None
    rates: Sequence[Rate]
    numbers: Sequence[Number]
    reward: str | None
    flags: Mapping[str, Flags]
    worst: Sequence[int]
    unseen: list[str]
    """What could not be looked at in this log, and what it would take."""
    thirds: Sequence[bool | None] = ()
    """(B,) True of the last third of the steps, False of the first; empty below two steps."""
    game: Json = None
    """With ``--game``: which game, how many rows matched it, and why the others did not."""
    channels: Sequence[Number] = ()
    """Shadow rewards, and how often a channel pays what the log's reward column says."""
    agreement: Mapping[str, Estimate | None] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        return self.rates[0].name

    def json(self) -> dict[str, Json]:
        """Everything but the dialogues; of those, the first of each detector and the worst."""
        shown = sorted({*self.worst, *(r.first for r in self.rates if r.first is not None)})
        return {
            "files": list(self.files), "formats": list(self.formats), "rows": len(self.rows),
            "skipped": {"n": len(self.skipped), "first": [list(s) for s in self.skipped[:100]]},
            "steps": self.steps, "prompts": self.prompts, "headline": self.headline, "reward": self.reward,
            "rates": [asdict(r) for r in self.rates], "numbers": [asdict(n) for n in self.numbers],
            "channels": [asdict(n) for n in self.channels],
            "agreement": {k: None if e is None else asdict(e) for k, e in self.agreement.items()},
            "game": self.game, "unseen": list(self.unseen), "worst": list(self.worst),
            "examples": {
                str(i): {
                    "where": self.rows[i].where, "step": self.rows[i].step, "said": list(self.rows[i].said),
                    "asked": [m.content for m in self.rows[i].prompt or ()],
                    "flags": [n for n, f in self.flags.items() if f[i]], "numbers": dict(self.rows[i].numbers),
                }
                for i in shown
            },
        }  # fmt: skip


def generic(log: Log, reward: str | None = None, trusted: str | None = None) -> Audit:
    """The detectors that need no game. ``reward`` and ``trusted`` name columns of numbers; the reward is guessed only
    where there is no choice: a column "reward", or the only one of a TRL log.

    Raises UsageError for a column that is not there.
    """
    rows, unseen = log.rows, list[str]()
    reward = paid_column(log, reward, unseen)
    clues = []
    for r in rows:
        turns = [part(text) for text in r.said]
        apart = r.thoughts or [""] * len(turns)
        clues.append({
            "asked": [m.content for m in r.prompt or ()],
            "said": [answer for _, answer in turns],
            "thoughts": [known + thoughts for known, (thoughts, _) in zip(apart, turns, strict=True)],
            "reference": None if r.references is None else list(r.references),
        })  # fmt: skip
    long = sum(len(text) > READ for r in rows for text in r.said)
    if long:
        unseen.append(f"{long} turns to their end: of each, the first {READ:,} characters are read")
    detectors: dict[str, ExploitDetector] = dict(GENERIC)
    del detectors["length"]  # its mean, in characters, is among the numbers
    if any(holds_code(r.said) for r in rows):
        detectors |= CODE_SIGNS
    if not any(r.prompt for r in rows):
        del detectors["copies-prompt"]
        unseen.append("copies of the prompt, and which rows share one: there is no column of prompts")
    if not any(r.references for r in rows):
        del detectors["copies-reference"]
        unseen.append("copies of the reference: there is no column of reference answers")
    found: Found = {name: (d, flag(name, d, clues), readable(name, d, clues)) for name, d in detectors.items()}
    empty = _empty(log, reward, clues)
    found[EMPTY] = (None, empty, [])
    union = [bool(flagged) or bool(blank) for flagged, blank in zip(found["signs"][1], empty, strict=True)]
    found["signs"] = (found["signs"][0], list(union), found["signs"][2])
    if trusted is not None:
        found[TRUSTED] = (None, _untrusted(log, reward, trusted), [])
    elif reward is None:
        unseen.append("whether the reward is deserved: there is no column of rewards (name it: --reward COLUMN)")
    else:
        unseen.append("whether the reward is deserved: no trusted score was named (--trusted COLUMN)")
    return assemble(log, found, reward, unseen)


def assemble(
    log: Log,
    found: Found,
    reward: str | None,
    unseen: list[str],
    clusters: Sequence[str] | None = None,
) -> Audit:
    """Flags by detector -> an audit: rates, curves, examples. ``clusters`` (B,), by default the prompts."""
    rows = log.rows
    clusters = [r.cluster for r in rows] if clusters is None else clusters
    steps = sorted({r.step for r in rows if r.step is not None})
    thirds = _thirds([r.step for r in rows], steps)
    if not thirds:
        unseen.append("what changes over training: there are not two steps (name the column: --column step=COLUMN)")
    rates = [_rate(name, d, f, c, clusters, rows, steps, thirds) for name, (d, f, c) in found.items()]
    names = sorted({n for r in rows for n in r.numbers})
    numbers = [number(n, [r.numbers.get(n) for r in rows], clusters, thirds) for n in names]
    unseen += [dropped for n in names if (dropped := _dropped(n, rows))]
    length = number("characters of a reply", [float(len("\n".join(r.said))) for r in rows], clusters, thirds)
    flags = {name: f for name, (_, f, _) in found.items()}
    return Audit(
        rows=rows, files=[str(f) for f in log.files], formats=log.formats,
        skipped=[(s.where, s.why) for s in log.skipped], steps=(steps[0], steps[-1]) if steps else None,
        prompts=len(set(clusters)) if any(r.prompt for r in rows) else None,
        rates=rates, numbers=[length, *numbers], reward=reward, flags=flags, worst=_worst(rows, flags, reward),
        unseen=unseen, thirds=thirds,
    )  # fmt: skip


def _dropped(name: str, rows: Sequence[Logged]) -> str:
    """How many values of a column are no numbers, and so in no mean; "" where all are."""
    lost = sum(name in r.numbers and r.numbers[name] is None for r in rows)
    numbers = sum(name in r.numbers for r in rows)
    why = "NaN, infinite, or no number (1 written as text, say)"
    return f"{lost} of {numbers} values of {name}: {why}, so they are left out" if lost else ""


def number(
    name: str,
    values: Sequence[float | None],
    clusters: Sequence[str],
    thirds: Sequence[bool | None],
    bounded: bool = False,
) -> Number:
    """A column's mean, early, late and change. ``bounded``: values in [0, 1], whose means are shares."""
    mean: Callable[..., Estimate | None] = share if bounded else clustered_mean
    whole = mean(values, clusters)
    if not thirds:
        return Number(name, whole, None, None, None)
    early, late = ([v if t is side else None for v, t in zip(values, thirds, strict=True)] for side in (False, True))
    if bounded:
        both = [i for i, t in enumerate(thirds) if t is not None]
        change = gap([values[i] for i in both], [bool(thirds[i]) for i in both], [clusters[i] for i in both])
    else:
        change = clustered_change(values, thirds, clusters)
    return Number(name, whole, mean(early, clusters), mean(late, clusters), change)


def _thirds(steps: Sequence[int | None], known: Sequence[int]) -> list[bool | None]:
    """(B,) True of the last third of the steps, False of the first, None between; empty below two steps."""
    if len(known) < 2:
        return []
    k = max(1, len(known) // 3)
    first, last = set(known[:k]), set(known[-k:])
    return [True if s in last else False if s in first else None for s in steps]


def _rate(
    name: str, detector: ExploitDetector | None, flags: Flags, clues: list[dict[str, Json]], clusters: Sequence[str],
    rows: Sequence[Logged], steps: Sequence[int], thirds: Sequence[bool | None],
) -> Rate:  # fmt: skip
    values = _values(detector, flags, clues, clusters)

    def over(chosen: Sequence[int]) -> Estimate | None:
        if not chosen:
            return None
        here, units = [flags[i] for i in chosen], [clusters[i] for i in chosen]
        if detector is None or isinstance(detector, Constant):  # the whole log's most common
            return share([values[i] for i in chosen], units)
        return detector.rate(here, [clues[i] for i in chosen], units)

    everything = range(len(rows))
    early, late = ([i for i in everything if thirds and thirds[i] is side] for side in (False, True))
    both = early + late
    at_first, at_last, change = over(early), over(late), None
    if detector is not None and type(detector).rate is not ExploitDetector.rate and not isinstance(detector, Constant):
        if at_first and at_last:  # such as a difference of shares, whose flags tell nothing of its change
            units = len({clusters[i] for i in both})
            change = Estimate(at_last.value - at_first.value, None, None, len(both), units, "withheld: no share")
    elif early and late:
        change = gap([values[i] for i in both], [bool(thirds[i]) for i in both], [clusters[i] for i in both])
    n = min(WINDOWS, len(steps))
    windows = [steps[len(steps) * k // n : len(steps) * (k + 1) // n] for k in range(n)]
    place = {s: k for k, window in enumerate(windows) for s in window}
    inside: list[list[int]] = [[] for _ in windows]
    for i, row in enumerate(rows):
        if row.step is not None:
            inside[place[row.step]].append(i)
    hits = [i for i, f in enumerate(flags) if f]
    meaning = (
        MEANINGS[name]
        if detector is None
        else " ".join((type(detector).__doc__ or "").strip().partition("\n\n")[0].replace("``", "").split())
    )
    return Rate(
        name, meaning, over(everything), at_first, at_last, change,
        [(w[0], w[-1], over(chosen)) for w, chosen in zip(windows, inside, strict=True)] if len(steps) > 1 else [],
        len(hits), sum(f is None for f in flags), min(hits, key=lambda i: _when(rows[i], i), default=None),
    )  # fmt: skip


def _values(
    detector: ExploitDetector | None, flags: Flags, clues: Sequence[Mapping[str, Json]], clusters: Sequence[str]
) -> list[float | None]:
    """What a rate is the mean of, for each rollout."""
    if isinstance(detector, Constant):
        replies = [" ".join("\n".join(c["said"]).casefold().split()) for c in clues]
        most = most_common(replies, clusters)
        return [float(text == most) for text in replies]
    return [None if f is None else float(f) for f in flags]


def _when(row: Logged, place: int) -> tuple[bool, int, int]:
    return (row.step is None, row.step or 0, place)


def _worst(rows: Sequence[Logged], flags: Mapping[str, Flags], reward: str | None) -> list[int]:
    """The rows with most flags; among equals the best paid, then the earliest."""
    counts = [sum(bool(column[i]) for column in flags.values()) for i in range(len(rows))]

    def rank(i: int) -> tuple[Any, ...]:
        paid = rows[i].numbers.get(reward) if reward else None
        return (-counts[i], -(paid or 0.0), _when(rows[i], i))

    return sorted((i for i in range(len(rows)) if counts[i]), key=rank)[:EXAMPLES]


def paid_column(log: Log, named: str | None, unseen: list[str]) -> str | None:
    """The column that was paid: the one asked for, "reward", or the only one of a TRL log; else none, and why."""
    names = sorted({n for r in log.rows for n in r.numbers})
    if named is not None:
        return _column(named, names, "--reward")
    if "reward" in names:
        return "reward"
    if log.formats == ("verl",) and "score" in names:
        return "score"
    if log.formats == ("trl",) and len(names) == 1:
        return names[0]
    if names:
        unseen.append(f"which of these is the reward that was paid: {', '.join(names[:10])} (name it: --reward COLUMN)")
    return None


def _column(name: str, names: Sequence[str], option: str) -> str:
    if name not in names:
        raise UsageError(f"{option} {name}: no row has such a column of numbers. {nearest(name, names)}")
    return name


def _middle(log: Log, column: str) -> float:
    """Half of what a column reaches in this log."""
    seen = [v for r in log.rows if (v := r.numbers.get(column)) is not None]
    low, high = min(seen, default=0.0), max(seen, default=0.0)
    return 0.5 if low >= 0.0 and high <= 1.0 else (low + high) / 2


def _empty(log: Log, reward: str | None, clues: Sequence[Mapping[str, Json]]) -> Flags:
    """Flags rows that say nothing; where the reward is known, only those that are paid for it."""
    blank = [not any(c.isalnum() for text in one["said"] for c in text) for one in clues]
    if reward is None:
        return list(blank)
    middle = _middle(log, reward)
    paid = [r.numbers.get(reward) for r in log.rows]
    return [None if p is None else b and p >= middle for b, p in zip(blank, paid, strict=True)]


def _untrusted(log: Log, reward: str | None, trusted: str) -> Flags:
    """Flags rows that are paid at least half of the reward's range here and, of the trusted score's, less than half.

    A range is 0 to 1 where all values lie in it, else from the least value in the log to the largest.
    """
    names = sorted({n for r in log.rows for n in r.numbers})
    _column(trusted, names, "--trusted")
    if reward is None or reward == trusted:
        raise UsageError(f"--trusted {trusted} is compared with the reward that was paid: name it, --reward COLUMN.")
    middles = [_middle(log, column) for column in (reward, trusted)]
    out: Flags = []
    for row in log.rows:
        paid, fair = row.numbers.get(reward), row.numbers.get(trusted)
        out.append(None if paid is None or fair is None else paid >= middles[0] and fair < middles[1])
    return out
