"""What a card of a game or a reward holds: a published schema (``docs/card.schema.json``), and how it is made short.

A part that was not measured says so, and how to have it: nothing is left out without a word.
"""

# ruff: noqa: RUF012 (pydantic copies default values)

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import ValidationError

from loopkit.errors import UsageError
from loopkit.evidence.sections import Part
from loopkit.records import Estimate

VERSION: Literal[1] = 1
Kind = Literal["game", "reward"]


class NotMeasured(Part):
    """Stands where a part has no numbers."""

    not_measured: str
    """Why, and what to do to have it."""


class Share(Part):
    """``k`` of ``n``, with a 95 % Wilson interval that takes them as independent; of none there is no value."""

    k: int
    n: int
    value: float | None
    low: float | None
    high: float | None


class Subject(Part):
    """What the card is of. ``hash`` is of the code: two cards with one hash are of one thing."""

    kind: Kind
    name: str
    title: str
    version: str
    hash: str
    axis: str = ""
    turns: str = ""
    """"1", or "2 or more"; empty of a reward."""
    options: dict[str, Any] = {}
    origin: str = ""
    """The distribution and its version."""
    licence: str = ""
    author: str = ""
    home: str = ""


class Made(Part):
    """What the card was made with. ``command`` makes it again."""

    loopkit: str
    command: str
    versions: dict[str, str | None]


class Contract(Part):
    """What ``loopkit check`` says. ``left_out``: checks that could not be made, and why."""

    status: Literal["proven", "unproven", "fails"]
    held: int
    of: int
    reasons: tuple[str, ...] = ()
    left_out: dict[str, str] = {}


class Pay(Part):
    """What a game's own specimens earn: mean pay, by channel and kind of specimen."""

    n: dict[str, int]
    """Kind -> specimens played."""
    channels: dict[str, dict[str, float]]


class BaseRates(Part):
    """A policy that was not trained, on held-out prompts. Intervals are over prompts, conditional on the seed."""

    model: str
    split: str
    seed: int
    n: int
    scores: dict[str, Estimate | None]
    rates: dict[str, Estimate | None]


class Quality(Part):
    """How often one detector is right on transcripts whose label is known."""

    detector: str
    on: Literal["specimens", "labelled"]
    """The game's own specimens (known by their kind), or transcripts that a reader labelled."""
    recall: Share
    false_positives: Share
    abstained: int


class Trick(Part):
    """A reply that earns without the goal, beside its matched control."""

    name: str
    reply: str
    pay: float
    control_pay: float | None
    rows: Share
    """Rows that fall to it."""


class Probed(Part):
    """What ``loopkit probe`` found. "nothing found" is of the kinds tried, and proves nothing."""

    word: Literal["gameable", "mis-signed", "void", "nothing found", "could not tell"]
    sentence: str
    cure: str
    tricks: tuple[Trick, ...] = ()
    right: float | None
    wrong: float | None
    ignorant: float | None
    rows: int
    replies: int
    kinds: int
    left: tuple[str, ...] = ()
    """Kinds that the budget did not reach."""
    against: str = ""
    """What said whether a paid reply is right; empty: the reference alone."""


class Arm(Part):
    """One arm of a training: means over seeds; an interval is withheld where seeds are too few, and says so."""

    exploit: Estimate | None
    task: Estimate | None
    observed: Estimate | None
    found: Share | None
    """Seeds that found the exploit; None of base."""


class Training(Part):
    """What training showed. ``smallest_visible``: the least difference that these seeds could have shown, by test."""

    source: str
    model: str
    trainer: str
    verdict: str
    sentence: str
    seeds: int
    prompts: int
    registered: str
    arms: dict[str, Arm]
    smallest_visible: dict[str, float | None] = {}


class Card(Part):
    """A card. Numbers are shares (0.1 is 10 %), rewards or counts."""

    schema_version: Literal[1] = VERSION
    subject: Subject
    made: Made
    contract: Contract | NotMeasured
    pay: Pay | NotMeasured
    base_rates: BaseRates | NotMeasured
    detectors: tuple[Quality, ...] | NotMeasured
    probe: Probed | NotMeasured
    training: tuple[Training, ...] | NotMeasured

    def json_text(self) -> str:
        """As a file."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def missing(self) -> Iterator[tuple[str, str]]:
        """(part, why) of what was not measured."""
        for name in PARTS:
            part = getattr(self, name)
            if isinstance(part, NotMeasured):
                yield name, part.not_measured


PARTS: Mapping[str, str] = {
    "contract": "Contract", "pay": "What its specimens earn", "base_rates": "Base rates", "detectors": "Detectors",
    "probe": "Probe", "training": "Training",
}  # fmt: skip
"""A card's parts, in their order, with the heading of each."""


def read(text: str | bytes, where: str) -> Card:
    """A card's JSON. Raises UsageError naming ``where`` for anything else."""
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{where} is no card: {'.'.join(map(str, first['loc']))}: {first['msg']}. Make it with `loopkit card`."
        ) from error


def schema() -> dict[str, Any]:
    """JSON schema of a card."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Card.model_json_schema()}


def status(card: Card) -> tuple[str, str]:
    """(words, kind) of a card in short, for its badge; kind is good, bad or plain. Nothing that was not measured."""
    words, kind = list[str](), "plain"
    if isinstance(card.contract, Contract):
        words.append(card.contract.status)
        kind = {"proven": "good", "unproven": "plain", "fails": "bad"}[card.contract.status]
    if card.subject.kind == "reward" and isinstance(card.probe, Probed):
        tried = f" of {card.probe.kinds} kinds" if card.probe.word == "nothing found" else ""
        words.append(card.probe.word + tried)
        kind = "bad" if card.probe.word in ("gameable", "mis-signed", "void") else "plain"
    if not isinstance(card.training, NotMeasured):
        words += [one.verdict for one in card.training[:1]]
    return ", ".join(words) or "not measured", kind
