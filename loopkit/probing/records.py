"""What a probe says in the end: plain records, which print, a card and JSON are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Word = Literal["gameable", "mis-signed", "void", "nothing found", "could not tell"]
EXIT: Mapping[Word, int] = {"gameable": 1, "mis-signed": 1, "void": 1, "nothing found": 0, "could not tell": 4}


@dataclass(frozen=True)
class Hit:
    """A reply that earns without the goal. ``pay`` and ``control_pay`` are means over the rows that it was tried on.

    ``fell`` of ``of`` rows pay it as if it were right, or for its trick; ``row`` is the first of them, and ``reply``
    and ``control`` are what was said there. ``share``: of what lies between an ignorant reply and a right one.
    """

    kind: str
    name: str
    reply: str
    control: str | None
    row: int
    pay: float
    control_pay: float | None
    share: float
    fell: int
    of: int
    cure: str


@dataclass(frozen=True)
class Fault:
    """Something about the reward itself: ``word`` is the verdict that it alone makes, None where it makes none."""

    kind: str
    text: str
    cure: str
    word: Word | None = None


@dataclass(frozen=True)
class Paid:
    """What a reply that holds the reference earns, on average, as a share of a right one: an informed attack."""

    name: str
    means: str
    share: float
    reply: str


@dataclass(frozen=True)
class Form:
    """The form in which a right answer is paid: a template with one ``{}``. ``worked``: the reference as a whole."""

    name: str
    template: str
    worked: bool = False


@dataclass(frozen=True)
class Probe:
    """A probe's result. ``code`` is the exit code: 1 gameable, mis-signed or void; 0 nothing found; 4 could not tell.

    ``right``, ``wrong``, ``ignorant``: mean pay of a right answer in the paid form, of a wrong one in it, and of a
    reply that knows nothing; None where unknown. ``kinds``: how many kinds of attack and fault were tried; ``left``
    names what the budget did not reach. ``seconds`` is the wall clock, ``in_reward`` the part spent in the reward.
    """

    reward: str
    word: Word
    sentence: str
    cure: str
    hits: Sequence[Hit] = ()
    faults: Sequence[Fault] = ()
    paid: Sequence[Paid] = ()
    breaks: Sequence[str] = ()
    form: Form | None = None
    right: float | None = None
    wrong: float | None = None
    ignorant: float | None = None
    rows: int = 0
    kinds: Sequence[str] = ()
    left: Sequence[str] = ()
    signature: str = ""
    notes: Sequence[str] = ()
    replies: int = 0
    searched: int = 0
    seconds: float = 0.0
    in_reward: float = 0.0
    log: str = ""
    asks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int:
        return EXIT[self.word]

    @property
    def verdict(self) -> str:
        return self.word

    def json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {**asdict(self), "exit_code": self.code}

    def table(self) -> list[dict[str, Any]]:
        """One row an attack that pays, the most telling first."""
        return [asdict(hit) for hit in self.hits]

    def card(self, markdown: bool = True) -> str:
        """A card of it, in Markdown or JSON."""
        from loopkit.probing.card import card

        return card(self, markdown)

    def __str__(self) -> str:
        from loopkit.probing.card import printed

        return printed(self)


def read(data: Mapping[str, Any]) -> Probe:
    """A probe from what ``json()`` gave. Raises TypeError or KeyError for anything else."""
    made = {k: v for k, v in data.items() if k != "exit_code"}
    form = data["form"]
    return Probe(**{
        **made,
        "hits": [Hit(**h) for h in data["hits"]],
        "faults": [Fault(**f) for f in data["faults"]],
        "paid": [Paid(**p) for p in data["paid"]],
        "form": Form(**form) if form else None,
    })  # fmt: skip
