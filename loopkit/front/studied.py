"""A study's result as people meet it: the answers, its main table, an example, the page. Read from ``results.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from loopkit.evidence.schema import StudyResults
from loopkit.evidence.sections import Column, Curve, Matrix, Section, Verdicts
from loopkit.evidence.write import number
from loopkit.front import sections
from loopkit.front.answers import NONE, Answer
from loopkit.front.examples import Example
from loopkit.front.outcome import Page
from loopkit.front.printed import LEAST, LINES, TINY, bold
from loopkit.front.tables import Table, fitted, wrapped
from loopkit.records import Json
from loopkit.report.numbers import p_value, sparkline, without_name
from loopkit.stats.seeds import FEWER, few


class StudyResult(Page):
    """A finished study. ``loopkit.study`` returns one, ``loopkit.read`` reads one from its directory."""

    def __init__(self, directory: Path, results: StudyResults) -> None:
        self.directory = directory
        self.results = results

    def json(self) -> dict[str, Json]:
        """All of ``results.json``."""
        return self.results.model_dump(mode="json")

    def runs(self) -> list[Path]:
        """Directories of the runs it rests on; other studies may rest on them too."""
        return self.results.directories(self.directory)

    @property
    def name(self) -> str:
        return self.results.study

    @property
    def seeds(self) -> list[int]:
        return list(self.results.made.seeds)

    @cached_property
    def verdicts(self) -> dict[str, Answer]:
        """What each verdict is about -> the verdict."""
        descriptive = few(len(self.seeds))
        out = {}
        for item in (i for s in self.results.sections if isinstance(s, Verdicts) for i in s.items):
            basis = f"descriptive: {FEWER}" if descriptive else "" if item.p is None else p_value(item.p)
            key = ", ".join(v for _, v in sorted(item.keys.items(), key=lambda kv: kv[0] != "game"))
            out[key] = Answer(item.name, without_name(item.name, item.sentence), item.sentence, basis)
        return out

    @cached_property
    def verdict(self) -> Answer:
        """All verdicts in one: the word they share, or how often each was said. "no verdict" of a study that claims
        nothing."""
        verdicts = self.verdicts
        n = len(self.seeds)
        basis = f"{n} seed{'s' * (n != 1)}" + (f"; descriptive: {FEWER}" if few(n) else "")
        if not verdicts:
            return Answer(NONE, "This study measures and compares; it has no claim to make.", basis=basis)
        if len(verdicts) == 1:
            (one,) = verdicts.values()
            return Answer(one.name, one.sentence, one.tested, basis)
        counts = Counter(a.name for a in verdicts.values())
        name = next(iter(counts)) if len(counts) == 1 else ", ".join(f"{k} {name}" for name, k in counts.items())
        sentence = "; ".join(f"{key}: {answer.name}" for key, answer in verdicts.items()) + "."
        return Answer(name, sentence, "\n".join(a.tested for a in verdicts.values()), basis)

    @property
    def main(self) -> Section:
        """The section that answers the study's question: the first that is not a verdict."""
        first = (s for s in self.results.sections if not isinstance(s, Verdicts))
        return next(first, self.results.sections[0])

    def table(self, name: str | None = None, verbose: bool = False) -> Table:
        """The main table, or the section of that name; ``verbose``: with every interval."""
        section = self.main if name is None else self.results.section(name)
        return sections.whole(section) if verbose else sections.brief(section)

    def tables(self) -> dict[str, Table]:
        """Every section by its name, with every interval."""
        return {s.name: sections.whole(s) for s in self.results.sections}

    def example(self) -> Example | None:
        """The first exploit that a policy paid by the loophole said on held-out prompts; None where none was said."""
        return Example.of(self.results)

    def text(self, verbose: bool = False, style: str = "plain") -> str:
        """As it is printed: the answer first, in at most 30 lines; ``verbose`` has every section."""
        return self._whole(style) if verbose else self._brief(style)

    def _brief(self, style: str) -> str:
        verdict = self.verdict
        basis = f" ({verdict.basis})" if verdict.basis else ""
        head = "\n".join([wrapped(self.results.what), bold(verdict.name), wrapped(verdict.sentence + basis)])
        others = [s.title for s in self.results.sections if s is not self.main and not isinstance(s, Verdicts)]
        tail = "\n".join([
            *([wrapped(TINY)] if self.results.made.model.startswith("tiny") else []),
            wrapped(f"{self.where()}\nEvery interval and {len(others)} more tables: --verbose, results.json and "
                    f"results.csv in {self.directory}"),
        ])  # fmt: skip
        small = self.table()
        room = LINES - (head + "\n\n" + tail).count("\n") - 3
        table = _shortened(small, style, room)
        example = self.example()
        left = room - table.count("\n") - 2
        exploit = [example.text(left)] if example and left > LEAST else []
        return "\n\n".join(part for part in (head, table, *exploit, tail) if part)

    def _whole(self, style: str) -> str:
        results, about = self.results, self.results.made
        note = " Below 5 seeds: descriptive, and intervals over seeds are withheld." if few(len(about.seeds)) else ""
        trained = f"trained by {about.trainer}" if any(r.steps for r in results.runs) else "not trained"
        parts = [
            f"{wrapped(f'{results.title}. {results.what}')}\n{bold(self.verdict.name)}",
            wrapped(
                f"{about.model}, {trained}; {about.split} split, in percent; seeds {', '.join(map(str, about.seeds))}."
                f"{note}\nMean over seeds with [95 % interval], or (lowest to highest seed) where that is withheld."
            ),
            *(wrapped(f"{key}: {a.tested}" if key else a.tested) for key, a in self.verdicts.items()),
            *filter(None, map(sketch, results.sections)),
        ]
        for section in results.sections:
            if not isinstance(section, Verdicts):
                parts += [wrapped(section.title), sections.whole(section).text(style)]
        example = self.example()
        return "\n\n".join([
            *parts, *([str(example)] if example else []), *map(wrapped, results.notes),
            wrapped(f"{self.where()}\nRecords: {self.directory} (results.json, results.csv, table.tex)"),
        ])  # fmt: skip

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<StudyResult of {self.name} in {self.directory}: {self.verdict.name}>"

    def _repr_html_(self) -> str:
        return self.verdict._repr_html_() + self.table()._repr_html_()


def _shortened(table: Table, style: str, most: int) -> str:
    """The table in at most ``most`` lines: rows that do not fit are counted."""
    if style == "plain" and table.keys == 2 and "\n\n" in fitted(table.cells, table.headers, style, 2):
        table = _grouped(table)
    text, rows = table.text(style), len(table.cells)
    while text.count("\n") + 1 > most and rows > 1:
        rows -= 1
        left = len(table.cells) - rows
        note = (f"… and {left} more row{'s' * (left > 1)}: --verbose.", *table.notes)
        text = Table(table.headers, table.cells[:rows], table.records[:rows], note, table.keys).text(style)
    return text


def _grouped(table: Table) -> Table:
    """The same with the first column as headings: narrower, and a line longer for each."""
    cells: list[tuple[str, ...]] = []
    records: list[dict[str, Json]] = []
    last = None
    for row, record in zip(table.cells, table.records, strict=True):
        if row[0] != last:
            last = row[0]
            cells.append((f"{last}:", *[""] * (len(row) - 2)))
            records.append({})
        cells.append(row[1:])
        records.append(record)
    return Table(table.headers[1:], tuple(cells), tuple(records), table.notes)


def sketch(section: Section) -> str:
    """A curve or a matrix as rows of blocks, all on one scale; "" of what is neither, or was not measured."""
    if isinstance(section, Curve):
        xs = sorted({p.x for line in section.lines for p in line.points})
        named = [(line.name, {p.x: p.y.value for p in line.points}) for line in section.lines]
        lines = [(name, [at.get(x) for x in xs]) for name, at in named]
        title = f"{section.title}: {section.y.title}, {section.x_title} {xs[0]:g} to {xs[-1]:g}"
        return _chart(title, section.y, lines)
    if isinstance(section, Matrix):
        lines = [(n, [c.value for c in row]) for n, row in zip(section.row_names, section.cells, strict=True)]
        return _chart(f"{section.title}: {', '.join(section.column_names)}", section.quantity, lines)
    return ""


def _chart(title: str, y: Column, lines: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    seen = [v for _, values in lines for v in values if v is not None]
    if not seen:
        return ""
    low, high = min(0.0, *seen), max(1.0 if y.kind == "share" else 0.0, *seen)
    rows = [[name, sparkline(values, low, high, len(values)), *_ends(values, y)] for name, values in lines]
    table = fitted(rows, ["", "chart", "first", "last"])
    return f"{wrapped(f'{title} (from {number(low, y)} to {number(high, y)})')}\n\n{table}"


def _ends(values: Sequence[float | None], y: Column) -> list[str]:
    return ["-" if v is None else number(v, y) for v in (values[0], values[-1])]
