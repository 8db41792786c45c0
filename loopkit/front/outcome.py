"""An experiment's result as people meet it, read from ``results.json``: answer, small table, example, page."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from loopkit.errors import RunError
from loopkit.evidence.results import SCHEMA
from loopkit.experiment.config import BASE
from loopkit.experiment.verifying import unverifiable
from loopkit.front.answers import Answer, answer
from loopkit.front.examples import Example
from loopkit.front.tables import Table
from loopkit.records import Json
from loopkit.report.numbers import percent

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

    def __init__(self, directory: Path, data: Mapping[str, Json]) -> None:
        self.directory = directory
        self._data = data

    def json(self) -> dict[str, Json]:
        """All of ``results.json``: every seed, interval and test."""
        return dict(self._data)

    @cached_property
    def verdict(self) -> Answer:
        """``.name`` and ``.sentence``; "no verdict", and why, where there is none. Its truth value tells which."""
        return answer(self._data)

    def runs(self) -> list[Path]:
        """Directories, in the order of ``results.json``."""
        return [self.directory / f"{r['arm']}-s{r['seed']}" for r in self._data["runs"]]

    @property
    def game(self) -> str:
        return str(self._data["game"])

    @property
    def trainer(self) -> str:
        return str(self._data["trainer"])

    @property
    def model(self) -> str:
        return str(self._data["model"])

    @property
    def headline(self) -> str:
        """The detector whose rate is called the exploit rate."""
        return str(self._data["headline"])

    @property
    def registration(self) -> dict[str, Json]:
        """``status``: "registered", then with ``hash``, ``registered_at`` and ``deviations``; else "exploratory"."""
        return dict(self._data.get("registration") or {"status": "exploratory"})

    @property
    def seeds(self) -> list[int]:
        return list(self._data["seeds"])

    @property
    def arms(self) -> list[str]:
        """Base first."""
        return list(dict.fromkeys(r["arm"] for r in self._data["runs"]))

    def values(self, arm: str, measure: str) -> list[float | None]:
        """The value of a score or detector ("exploit": the headline) in each run of an arm, in the seeds' order."""
        name = self.headline if measure == "exploit" else measure
        found = {
            r["seed"]: r["rates"].get(name) or r["scores"].get(name) for r in self._data["runs"] if r["arm"] == arm
        }
        return [e["value"] if (e := found.get(seed)) else None for seed in self.seeds]

    def example(self) -> Example | None:
        """The first exploit that the loophole's arm said on held-out prompts; None where it said none."""
        return Example.read(self._data)

    def rose(self) -> bool:
        """Whether the exploit rate of the loophole's arm is above base's, or a sign of a shortcut rose."""
        record = self._record("loophole") if "loophole" in self.arms else {}
        return bool(self._data.get("examples")) or (record.get("exploit_minus_base") or 0.0) > 0

    def fixes(self) -> dict[str, str]:
        """Arm -> what it did as a fix, in a word or two; empty where control alone stands beside the loophole."""
        found = {arm: str(m["name"]) for arm, m in self._data["mitigations"].items()}
        return {} if list(found) == ["control"] else found

    def table(self, verbose: bool = False) -> Table:
        """Arms x (task, observed, exploit, found it), minus base in brackets; ``verbose``: every run and column."""
        return self._every_run() if verbose else self._arms()

    def _arms(self) -> Table:
        records = [self._record(arm) for arm in self.arms]
        cells = [
            (r["arm"], *(_with_difference(r[m], r[f"{m}_minus_base"]) for m in MEASURES), self._found(r["arm"]))
            for r in records
        ]
        n = sorted({r["n"] for r in self._data["runs"]})
        each = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
        note = (
            f"Percent, {self._data['split']} split, mean over {_seeds(self.seeds)} ({each} each); in brackets: minus "
            f"base. exploit: {self.headline}."
        )
        idle = "; ".join(f"{arm} ({_seeds(seeds)})" for arm, seeds in self._data.get("idle", {}).items())
        notes = (note, *([f"Could not learn, since no step had a gradient: {idle}."] if idle else []))
        return Table(("arm", *MEASURES, "found it"), tuple(cells), tuple(records), notes)

    def _record(self, arm: str) -> dict[str, Json]:
        record: dict[str, Json] = {"arm": arm}
        for measure in MEASURES:
            own, base = self.values(arm, measure), self.values(BASE, measure)
            pairs = [(x, b) for x, b in zip(own, base, strict=True) if x is not None and b is not None]
            record[measure] = _mean([x for x in own if x is not None])
            record[f"{measure}_minus_base"] = None if arm == BASE else _mean([x - b for x, b in pairs])
        found = self._data["discovered"].get(arm)
        record["found_it"] = round(found["value"] * found["n"]) if found else None
        record["seeds"] = len(self.seeds)
        return record

    def _found(self, arm: str) -> str:
        """``3 of 3 (at step 20, 19, 17)``."""
        found = self._data["discovered"].get(arm)
        if not found:
            return "-"
        text = f"{round(found['value'] * found['n'])} of {found['n']}"
        paths = [r["discovery"] for r in self._data["runs"] if r["arm"] == arm and r["discovery"]]
        steps = [p["onset"] for p in paths]
        if len(steps) > FEW_ONSETS or all(step is None for step in steps):
            return text
        return f"{text} (at step {', '.join('never' if s is None else str(s) for s in steps)})"

    def _every_run(self) -> Table:
        from loopkit.front.verbose import every_run

        return every_run(self)

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


def read_results(file: Path) -> dict[str, Json]:
    """An experiment's ``results.json``. Raises RunError naming one that this version cannot read."""
    try:
        data: dict[str, Json] = json.loads(file.read_bytes())
        if data["schema_version"] != SCHEMA:
            raise RunError(f"{file} has schema version {data['schema_version']!r}; this loopkit reads {SCHEMA}.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{file} cannot be read ({type(error).__name__}: {error}). Remove it and run the same command again: it is "
            "made anew from the runs."
        ) from error
    return data


def _with_difference(value: float | None, difference: float | None) -> str:
    if value is None or difference is None:
        return percent(value)
    return f"{percent(value)} ({round(100 * difference, 1) + 0.0:+.1f})"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _seeds(seeds: Sequence[int]) -> str:
    """``seed 3``, ``seeds 0-4``, ``seeds 3, 7``."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return "seeds " + (f"{seeds[0]}-{seeds[-1]}" if whole else ", ".join(map(str, seeds)))
