"""An experiment's result as people meet it, read from ``results.json``: answer, small table, example, page."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from loopkit.evidence import tables
from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.sections import Cell
from loopkit.evidence.tables import minus
from loopkit.experiment.config import BASE
from loopkit.experiment.verifying import unverifiable
from loopkit.front.answers import Answer, answer
from loopkit.front.examples import Example
from loopkit.front.sections import in_brackets
from loopkit.front.tables import Table
from loopkit.records import Json

FEW_ONSETS = 5
"""Seeds whose onsets are spelled out in the small table."""
MEASURES = ("task", "observed", "exploit")


class Page:
    """What a result has that lies in a directory with a ``results.json``."""

    directory: Path

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page: one HTML file that loads nothing. Default: ``report.html`` in the directory."""
        from loopkit.front.pages import write_page

        return write_page([self.directory], Path(path) if path is not None else self.directory / "report.html")

    def where(self) -> str:
        """Where the page is, or the command that writes it, in a line."""
        page, results = self.directory / "report.html", self.directory / "results.json"
        fresh = page.exists() and page.stat().st_mtime_ns >= results.stat().st_mtime_ns
        text = f"Page: {page}" if fresh else f"Page: loopkit report {self.directory}"
        if unknown := self.unverifiable():
            few = ", ".join(run.name for run in unknown[:3]) + (", …" if len(unknown) > 3 else "")
            text += (
                f"\nNot verifiable: {few} ({len(unknown)} of {len(self.runs())} runs) were begun without digests. To "
                f"notice damage from now on: loopkit seal {unknown[0].parent}"
            )
        return text

    def runs(self) -> list[Path]:
        """The directories of the runs that it rests on."""
        raise NotImplementedError

    def unverifiable(self) -> list[Path]:
        """Those of its runs in which damage would not be noticed: begun without digests, by an earlier version."""
        return unverifiable(self.runs())


class Result(Page):
    """A finished experiment. ``loopkit.run`` returns one, ``loopkit.read`` reads one from its directory."""

    def __init__(self, directory: Path, results: ExperimentResults) -> None:
        self.directory = directory
        self.results = results

    def json(self) -> dict[str, Json]:
        """All of ``results.json``: every seed, interval and test."""
        return self.results.model_dump(mode="json")

    @cached_property
    def verdict(self) -> Answer:
        """``.name`` and ``.sentence``; "no verdict", and why, where there is none. Its truth value tells which."""
        return answer(self.results)

    def runs(self) -> list[Path]:
        """Directories, in the order of ``results.json``."""
        return self.results.directories(self.directory)

    @property
    def game(self) -> str:
        return self.results.game

    @property
    def trainer(self) -> str:
        return self.results.trainer

    @property
    def model(self) -> str:
        return self.results.model

    @property
    def headline(self) -> str:
        """The detector whose rate is called the exploit rate."""
        return self.results.headline

    @property
    def registration(self) -> dict[str, Json]:
        """``status``: "registered", then with ``hash``, ``registered_at`` and ``deviations``; else "exploratory"."""
        return dict(self.results.registration)

    @property
    def seeds(self) -> list[int]:
        return list(self.results.seeds)

    @property
    def arms(self) -> list[str]:
        """Base first."""
        return self.results.arm_names

    def values(self, arm: str, measure: str) -> list[float | None]:
        """The value of a score or detector ("exploit": the headline) in each run of an arm, in the seeds' order."""
        return self.results.values(arm, self.headline if measure == "exploit" else measure)

    def example(self) -> Example | None:
        """The first exploit that the loophole's arm said on held-out prompts; None where it said none."""
        return Example.of(self.results)

    def rose(self) -> bool:
        """Whether the exploit rate of the loophole's arm is above base's, or a sign of a shortcut rose."""
        if "loophole" not in self.arms:
            return bool(self.results.examples)
        above = minus(*(tables.measure(self.results, arm, self.headline) for arm in ("loophole", BASE)))
        return bool(self.results.examples) or (above or 0.0) > 0

    def fixes(self) -> dict[str, str]:
        """Arm -> what it did as a fix, in a word or two; empty where control alone stands beside the loophole."""
        names = {arm: fix.name for arm, fix in self.results.mitigations.items()}
        return {} if list(names) == ["control"] else names

    def table(self, verbose: bool = False) -> Table:
        """Arms x (task, observed, exploit, found it), minus base in brackets; ``verbose``: every run and column."""
        if verbose:
            from loopkit.front.verbose import every_run

            return every_run(self)
        return self._arms()

    def _arms(self) -> Table:
        """The main table, small."""
        results = self.results
        rows = {row.keys["arm"]: row.cells for row in tables.main_table({self.game: results}, "main", "").rows}
        columns = [column for column in tables.MAIN if column.key in MEASURES]
        base = {arm: None if arm == BASE else rows.get(BASE) for arm in rows}
        cells = [
            (arm, *(in_brackets(row[c.key], b[c.key] if (b := base[arm]) else None, c) for c in columns),
             self._found(arm))
            for arm, row in rows.items()
        ]  # fmt: skip
        n = sorted({run.n for run in results.runs})
        each = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
        where = results.compared.measured if results.compared else f"{results.split} split"
        note = (
            f"Percent, {where}, mean over {_seeds(self.seeds)} ({each} each); in brackets: minus "
            f"base. exploit: {self.headline}."
        )
        idle = "; ".join(f"{arm} ({_seeds(seeds)})" for arm, seeds in results.idle.items())
        notes = (note, *([f"Could not learn, since no step had a gradient: {idle}."] if idle else []))
        records = tuple(self._record(arm, row, rows.get(BASE)) for arm, row in rows.items())
        return Table(("arm", *MEASURES, "found it"), tuple(cells), records, notes)

    def _record(self, arm: str, cells: Mapping[str, Cell], base: Mapping[str, Cell] | None) -> dict[str, Json]:
        record: dict[str, Json] = {"arm": arm}
        for measure in MEASURES:
            record[measure] = cells[measure].value
            record[f"{measure}_minus_base"] = (
                None if arm == BASE else minus(cells[measure], base[measure] if base else None)
            )
        discovered = self.results.discovered.get(arm)
        record["found_it"] = round(discovered.value * discovered.n) if discovered else None
        record["seeds"] = len(self.seeds)
        return record

    def _found(self, arm: str) -> str:
        """``3 of 3 (at step 20, 19, 17)``."""
        discovered = self.results.discovered.get(arm)
        if not discovered:
            return "-"
        text = f"{round(discovered.value * discovered.n)} of {discovered.n}"
        steps = [run.discovery.onset for run in self.results.of(arm) if run.discovery]
        if len(steps) > FEW_ONSETS or all(step is None for step in steps):
            return text
        return f"{text} (at step {', '.join('never' if s is None else str(s) for s in steps)})"

    def text(self, verbose: bool = False, style: str = "plain") -> str:
        """As it is printed: the answer first, in at most 30 lines; ``verbose`` has every seed and column."""
        from loopkit.front import printed
        from loopkit.front import verbose as whole

        return whole.experiment(self, style) if verbose else printed.experiment(self, style)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Result of {self.game} in {self.directory}: {self.verdict.name}>"

    def _repr_html_(self) -> str:
        return self.verdict._repr_html_() + self.table()._repr_html_()

    def specs(self) -> list[dict[str, Any]]:
        """The runs' resolved settings (``run.toml``), as plain dicts, in the order of ``results.json``."""
        files = [run / "run.toml" for run in self.runs()]
        return [tomllib.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def _seeds(seeds: Sequence[int]) -> str:
    """``seed 3``, ``seeds 0-4``, ``seeds 3, 7``."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return "seeds " + (f"{seeds[0]}-{seeds[-1]}" if whole else ", ".join(map(str, seeds)))
