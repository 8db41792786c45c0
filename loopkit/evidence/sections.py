"""Tables, curves and verdicts as ``results.json`` holds them (docs/results.md): strict models of what is shown.

Numbers are shares (0.1 is 10 %), steps, or rewards; nothing is a percentage. Every number is a Cell, so that none is
without its interval, or the reason why it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from loopkit.records import Estimate, Json

Unit = Literal["seed", "cluster", "run", "rollout", ""]


class Part(BaseModel):
    """Base of the models here: a misspelt key is an error, NaN is not a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SeedValue(Part):
    """One seed's value, with its interval over prompts (conditional on the seed) where it has one."""

    seed: int
    value: float | None
    """None: censored (an onset never reached), or not measured."""
    low: float | None = None
    high: float | None = None
    n: int | None = None


class Cell(Part):
    """A number with its 95 % interval, or the reason why either is missing."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """How many ``unit``s it rests on."""
    unit: Unit = "seed"
    method: str = ""
    withheld: str | None = None
    """Why ``value``, or the interval, is missing. Never empty where one is."""
    seeds: tuple[SeedValue, ...] = ()
    """Every seed, in order."""

    @model_validator(mode="after")
    def _says_why(self) -> Cell:
        if (self.value is None or self.low is None or self.high is None) and not self.withheld:
            raise ValueError("a cell without value or interval says why in `withheld`")
        if self.value is None and (self.low is not None or self.high is not None):
            raise ValueError("a cell without a value has no interval")
        return self

    @staticmethod
    def of(estimate: Estimate | None, unit: Unit, seeds: Sequence[SeedValue] = (), why: str = "not measured") -> Cell:
        """A cell from an Estimate; None is withheld with ``why``."""
        if estimate is None:
            return Cell(value=None, withheld=why, unit=unit, seeds=tuple(seeds))
        missing = estimate.low is None or estimate.high is None
        n = estimate.n if unit == "rollout" else estimate.clusters
        return Cell(
            value=estimate.value,
            low=None if missing else estimate.low,
            high=None if missing else estimate.high,
            n=n,
            unit=unit,
            method=estimate.method,
            withheld=(estimate.method.removeprefix("withheld: ") or "no interval") if missing else None,
            seeds=tuple(seeds),
        )


class Column(Part):
    """A column of a table."""

    key: str
    title: str
    kind: Literal["share", "difference", "steps", "reward", "number"] = "share"
    """A share and a difference of shares are shown in percent and points."""
    what: str = ""


class Row(Part):
    """A row of a table. ``cells`` holds every column's key; ``words`` what is not a number (a verdict, a name)."""

    keys: dict[str, str]
    cells: dict[str, Cell]
    words: dict[str, str] = {}


class _Section(Part):
    name: str
    """Unique in the study; names the file of its LaTeX table."""
    title: str
    notes: tuple[str, ...] = ()


class Table(_Section):
    """Rows under named columns: the main table, algorithms, mitigations, conditions, monitors, tests."""

    kind: Literal["table"] = "table"
    row_keys: tuple[str, ...]
    columns: tuple[Column, ...]
    word_columns: tuple[str, ...] = ()
    rows: tuple[Row, ...]


class Matrix(_Section):
    """Numbers by two names: transfer (source x target), shadow rewards (arm x channel)."""

    kind: Literal["matrix"] = "matrix"
    quantity: Column
    row_title: str
    column_title: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    """[row][column]."""


class Point(Part):
    x: float
    y: Cell


class Line(Part):
    name: str
    points: tuple[Point, ...]


class Mark(Part):
    """A vertical line of a curve, such as an analytic break-even."""

    x: float
    label: str


class Curve(_Section):
    """y against a knob (dose), or against steps (decay, relapse, training)."""

    kind: Literal["curve", "decay"]
    x_title: str
    y: Column
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()


class Group(Part):
    """One group of runs whose onsets are compared."""

    name: str
    steps: int
    """Length of the runs; an onset not reached within is censored here."""
    onsets: tuple[SeedValue, ...]
    """Value: the onset's step, None where censored."""
    discovered: Cell
    """Share of seeds that reached onset."""
    start: Cell
    """Exploit rate before the first step."""


class Onsets(_Section):
    """Onset steps by group, with censoring (catalysis, relapse)."""

    kind: Literal["onsets"] = "onsets"
    detector: str
    groups: tuple[Group, ...]


class VerdictRow(Part):
    """A verdict in a word and a sentence, and the tests it rests on (name -> numbers)."""

    keys: dict[str, str]
    name: str
    sentence: str
    p: float | None = None
    descriptive: bool = True
    details: dict[str, Json] = {}


class Verdicts(_Section):
    kind: Literal["verdicts"] = "verdicts"
    items: tuple[VerdictRow, ...]


Section = Annotated[Table | Matrix | Curve | Onsets | Verdicts, Field(discriminator="kind")]
