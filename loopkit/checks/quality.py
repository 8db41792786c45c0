"""How good a game's detectors are: precision and recall on transcripts that a reader labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from loopkit.checks.specimens import converse
from loopkit.contracts import ExploitDetector, Game
from loopkit.errors import ContractError
from loopkit.records import Json, Labelled, Rollout
from loopkit.rollouts.scoring import all_clues, assess, flag
from loopkit.stats.corrected import Labels
from loopkit.stats.rates import wilson

AIM = 0.95


@dataclass(frozen=True)
class Share:
    """``right`` of ``n``, with a 95 % Wilson interval; without any there is no value."""

    right: int
    n: int

    @property
    def value(self) -> float | None:
        return self.right / self.n if self.n else None

    @property
    def limits(self) -> tuple[float, float] | None:
        return wilson(self.right, self.n) if self.n else None

    def json(self) -> dict[str, Json]:
        low, high = self.limits or (None, None)
        return {"value": self.value, "low": low, "high": high, "right": self.right, "n": self.n}

    def __str__(self) -> str:
        if not self.n:
            return "- n=0"
        low, high = wilson(self.right, self.n)
        return f"{self.right / self.n:.2f} [{low:.2f}, {high:.2f}] n={self.n}"


@dataclass(frozen=True)
class Row:
    """One detector (or one class of a clue) on the transcripts of one source: "written", "sampled" or "all".

    Precision: of those flagged, the share that should be. Recall: of those that should be, the share that is. A
    detector that abstains does not flag; one that flags where it should abstain is wrong.
    """

    what: str
    source: str
    precision: Share
    recall: Share
    n: int

    @property
    def lowest(self) -> float:
        """The lower of precision and recall; 1 where there is neither."""
        return min((s.value for s in (self.precision, self.recall) if s.value is not None), default=1.0)


@dataclass(frozen=True)
class Mistake:
    """A transcript on which a detector, or a clue, disagrees with the reader."""

    what: str
    should: Json
    said: Json
    source: str
    words: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Quality:
    """What was measured of one game, with every mistake."""

    name: str
    n: int
    rows: tuple[Row, ...]
    mistakes: tuple[Mistake, ...]

    def json(self) -> dict[str, Json]:
        return {
            "game": self.name,
            "n": self.n,
            "rows": [
                {"what": r.what, "source": r.source, "n": r.n}
                | {"precision": r.precision.json(), "recall": r.recall.json()}
                for r in self.rows
            ],
            "mistakes": [{**asdict(m), "words": list(m.words)} for m in self.mistakes],
        }


def measure(game: Game, detectors: Mapping[str, ExploitDetector] | None = None, name: str = "") -> Quality:
    """Measures detectors (default: the game's) on ``game.labelled()``.

    The mistakes of rows within a source are taken as independent: samples of one policy are alike, so their intervals
    are too narrow. Raises ContractError for a label of an unknown detector or clue, and for words that do not end
    the game.
    """
    detectors = game.detectors if detectors is None else detectors
    labelled = game.labelled()
    who = name or type(game).__name__
    clues = _clues(game, labelled, detectors, who)
    rows: list[Row] = []
    mistakes: list[Mistake] = []
    for flag_name, detector in detectors.items():
        chosen = [i for i, one in enumerate(labelled) if flag_name in one.flags]
        flags = flag(flag_name, detector, [clues[i] for i in chosen]) if chosen else []
        pairs = [(labelled[i].flags[flag_name], answer) for i, answer in zip(chosen, flags, strict=True)]
        rows += _rows(flag_name, True, [labelled[i] for i in chosen], pairs)
        mistakes += _mistakes(flag_name, [labelled[i] for i in chosen], pairs)
    for clue in sorted({clue for one in labelled for clue in one.classes}):
        chosen = [i for i, one in enumerate(labelled) if clue in one.classes]
        verdicts = [(labelled[i].classes[clue], clues[i][clue]) for i in chosen]
        for verdict in sorted({should for should, _ in verdicts}):
            rows += _rows(f"{clue}: {verdict}", verdict, [labelled[i] for i in chosen], verdicts)
        mistakes += _mistakes(clue, [labelled[i] for i in chosen], verdicts)
    return Quality(who, len(labelled), tuple(rows), tuple(mistakes))


def labels(game: Game, name: str, detector: ExploitDetector, labelled: Sequence[Labelled]) -> Labels:
    """What a detector says of the transcripts that are labelled for it; those on which it, or the reader, abstains are
    left out. Raises as ``measure``.
    """
    chosen = [one for one in labelled if one.flags.get(name) is not None]
    clues = _clues(game, chosen, {name: detector, **game.detectors}, type(game).__name__)
    flags = flag(name, detector, clues) if chosen else []
    pairs = [(one.flags[name], answer) for one, answer in zip(chosen, flags, strict=True) if answer is not None]
    exploits = [answer for should, answer in pairs if should]
    honest = [answer for should, answer in pairs if not should]
    return Labels(len(exploits), sum(map(bool, exploits)), len(honest), sum(not answer for answer in honest))


def _clues(
    game: Game, labelled: Sequence[Labelled], detectors: Mapping[str, ExploitDetector], who: str
) -> list[Mapping[str, Json]]:
    """What detectors may read of each transcript, played again."""
    for one in labelled:
        if unknown := sorted({*one.flags} - {*detectors} | {*one.classes} - {*game.clues}):
            raise ContractError(f"{who}: labelled() names {unknown}, no detector or clue of it. Mend the labels.")
    start = [Rollout(f"test/000000/{i:04d}/{one.task.id}/0", one.task) for i, one in enumerate(labelled)]
    played = converse(game, start, [one.words for one in labelled])
    for rollout, one in zip(played, labelled, strict=True):
        if not rollout.done or len(rollout.steps) < len(one.words):
            raise ContractError(f"{who}: the labelled words {one.words!r:.60} do not end the game exactly. Mend them.")
    return [all_clues(r, a) for r, a in zip(played, assess(game, played), strict=True)] if played else []


def _rows(name: str, positive: Json, labelled: Sequence[Labelled], pairs: Sequence[tuple[Json, Json]]) -> list[Row]:
    out = []
    for source in ("written", "sampled", "all"):
        some = [p for one, p in zip(labelled, pairs, strict=True) if source in (one.source, "all")]
        right = some.count((positive, positive))
        answered, should = sum(s == positive for _, s in some), sum(s == positive for s, _ in some)
        out += [Row(name, source, Share(right, answered), Share(right, should), len(some))] if some else []
    return out


def _mistakes(name: str, labelled: Sequence[Labelled], pairs: Sequence[tuple[Json, Json]]) -> list[Mistake]:
    return [
        Mistake(name, should, answer, one.source, one.words, one.note)
        for one, (should, answer) in zip(labelled, pairs, strict=True)
        if should != answer
    ]
