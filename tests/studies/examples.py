"""A made study with one section of each kind: what readers of ``results.json`` (report, writers) are tested on."""

from __future__ import annotations

from loopkit.evidence.schema import Made, RunEntry, StudyResults
from loopkit.evidence.sections import (
    Cell,
    Column,
    Curve,
    Group,
    Line,
    Mark,
    Matrix,
    Onsets,
    Point,
    Row,
    SeedValue,
    Table,
    VerdictRow,
    Verdicts,
)
from loopkit.records import Estimate
from loopkit.stats.seeds import discovered, mean_over_seeds

SEEDS = (0, 1, 2)
WITHHELD = Cell(value=None, withheld="the game has no control channel")


def cell(*values: float, n: int = 2000) -> Cell:
    """Over seeds, each with an interval of its own."""
    seeds = [SeedValue(seed=s, value=v, low=v - 0.02, high=v + 0.02, n=n) for s, v in enumerate(values)]
    return Cell.of(mean_over_seeds(values), "seed", seeds)


def table() -> Table:
    columns = (
        Column(key="task", title="task", what="true goal"),
        Column(key="exploit", title="exploit: false-claim", what="headline exploit rate"),
        Column(key="discovered", title="k of S discovered"),
    )
    none = Cell(value=None, withheld="not trained")
    rows = (
        Row(keys={"game": "a_game & co", "arm": "base"},
            cells={"task": cell(0.5, 0.52, 0.51), "exploit": cell(0.1, 0.12, 0.09), "discovered": none}),
        Row(keys={"game": "a_game & co", "arm": "loophole"},
            cells={"task": cell(0.5, 0.49, 0.52), "exploit": cell(0.8, 0.9, 0.85),
                   "discovered": Cell.of(discovered([12, 9, None]), "seed")}),
        Row(keys={"game": "a_game & co", "arm": "control"},
            cells={"task": cell(0.9, 0.9, 0.9), "exploit": WITHHELD, "discovered": WITHHELD}),
    )  # fmt: skip
    return Table(name="main", title="Main table", row_keys=("game", "arm"), columns=columns, rows=rows)


def matrix() -> Matrix:
    return Matrix(
        name="transfer", title="Zero-shot transfer", notes=("Difference from base.",),
        quantity=Column(key="difference", title="exploit rate minus base's", kind="difference"),
        row_title="source", column_title="target", row_names=("one", "two"), column_names=("one", "two"),
        cells=((cell(0.7, 0.8, 0.75), cell(0.01, -0.02, 0.0)), (cell(0.0, 0.0, 0.01), WITHHELD)),
    )  # fmt: skip


def curve() -> Curve:
    points = tuple(Point(x=x, y=cell(y, y + 0.03, y - 0.02)) for x, y in ((0.0, 0.9), (0.1, 0.8), (0.3, 0.1)))
    return Curve(
        kind="curve", name="audit-rate", title="Audit rate", x_title="audit rate",
        y=Column(key="exploit", title="exploit"),
        lines=(Line(name="self-grading", points=points),), marks=(Mark(x=0.27, label="p*(q)"),),
    )  # fmt: skip


def decay() -> Curve:
    def line(name: str, *values: float) -> Line:
        return Line(name=name, points=tuple(Point(x=5 * k, y=cell(v, v + 0.02)) for k, v in enumerate(values)))

    return Curve(
        kind="decay", name="control", title="Corrected by control", x_title="correction step",
        y=Column(key="exploit", title="exploit"), lines=(line("rl", 0.8, 0.7, 0.6), line("sft", 0.8, 0.4, 0.1)),
    )  # fmt: skip


def onsets() -> Onsets:
    def group(name: str, *steps: int | None) -> Group:
        seen = tuple(SeedValue(seed=s, value=step) for s, step in enumerate(steps))
        return Group(
            name=name,
            steps=40,
            onsets=seen,
            discovered=Cell.of(discovered(steps), "seed"),
            start=cell(0.02, 0.03, 0.02),
        )

    return Onsets(
        name="onset", title="Onset of B", detector="false-claim",
        groups=(group("alone", 20, None, 31), group("after loophole", 4, 6, 9), group("after control", 22, 19, None)),
    )  # fmt: skip


def verdicts() -> Verdicts:
    item = VerdictRow(
        keys={"game": "a_game & co"}, name="blind spot", p=0.01, descriptive=True,
        sentence="Blind spot: the exploit rate moved +75.0 points against base (3 seeds, p = 0.010).",
        details={"skill_lost": 0.4},
    )  # fmt: skip
    return Verdicts(name="verdicts", title="Verdicts", items=(item,))


def study() -> StudyResults:
    return StudyResults(
        study="example",
        title="A made study",
        what="One section of each kind.",
        made=Made(
            loopkit="0.1", git=None, model="tiny", trainer="grpo", games=("a_game & co",), seeds=SEEDS, split="test",
            prompts=2000, hardware=("cpu: one", "cpu: another"), start_policies={"tiny": "00"},
        ),
        notes=("tiny is not evidence about large models.",),
        sections=(table(), matrix(), curve(), decay(), onsets(), verdicts()),
        runs=(
            RunEntry(
                directory="../a_game-0123456789ab/loophole-s0", game="a_game & co", arm="loophole", channel="loophole",
                channel_options={"rate": 0.1}, trainer="grpo", model="tiny", seed=0, steps=40, spec_hash="0123456789ab",
                device="cpu: one",
            ),
        ),
    )  # fmt: skip


def estimate(value: float, n: int = 100) -> Estimate:
    return Estimate(value, max(0.0, value - 0.1), min(1.0, value + 0.1), n, n, "by hand")
