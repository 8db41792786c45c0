"""Conditions: how a real model is asked (plainly, by its template, to think first), without any training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import ClassVar

from pydantic import Field

from loopkit.contracts import Options
from loopkit.errors import UsageError
from loopkit.evidence.sections import Cell, Column, Row, Section, SeedValue, Table
from loopkit.experiment.config import BASE, on_tiny
from loopkit.records import Estimate
from loopkit.rollouts.metrics import Summary
from loopkit.running.parallel import Job
from loopkit.stats.contrasts import minus
from loopkit.studies.study import Study

CONDITIONS = ("base", "instruct", "chain-of-thought")


class ConditionsOptions(Options):
    """Options of conditions."""

    prompts: int = Field(64, ge=1, description="held-out prompts a game and condition")
    base_model: str = Field(
        "", description="another model for condition base, such as the one before instruction tuning"
    )


class Conditions(Study):
    """Base, instruct and chain-of-thought prompting of a real model; evaluation only."""

    name: ClassVar[str] = "conditions"
    title: ClassVar[str] = "Prompt conditions"
    what: ClassVar[str] = "How does a real model play before any training, asked in three ways?"
    games: ClassVar[tuple[str, ...]] = ("context-compliance", "self-grading")
    seeds: ClassVar[str] = "1"
    Options = ConditionsOptions
    options: ConditionsOptions

    def plan(self) -> Iterator[list[Job]]:
        if on_tiny(self.grid.model):
            raise UsageError(
                "study conditions asks a real model in three ways, and tiny has but one: it was shown answers only, so "
                "without its template, or asked to think first, it says noise. Name a model: --model DIRECTORY or a "
                "Hugging Face id, instruction-tuned."
            )
        yield [self._run(g, c, s) for g in self.grid.games for c in CONDITIONS for s in self.grid.seeds]

    def _run(self, game: str, condition: str, seed: int) -> Job:
        model = self.options.base_model if condition == "base" else ""
        settings = {"run": {"condition": condition, "eval_prompts": self.options.prompts, "eval_batch": 16}}
        return self.grid.run(game, BASE, seed, model=model, settings=settings)

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        but = ("evaluation", *(["model", "weights of the start policy"] if self.options.base_model else []))
        return [([self._run(g, c, s) for c in CONDITIONS for s in self.grid.seeds], but) for g in self.grid.games]

    def notes(self) -> list[str]:
        base = self.options.base_model or "the same weights"
        return [
            f"base: a plain transcript without a chat template ({base}); instruct: the model's chat template; "
            "chain-of-thought: that, and a request to think first; the game sees what stands below the line ANSWER, "
            "and nothing where no such line was reached."
        ]

    def sections(self) -> list[Section]:
        return [s for game in self.grid.games for s in self._tables(game)]

    def _tables(self, game: str) -> list[Section]:
        """Rates with intervals over prompts: nothing is trained, so the seed keys the sampling only."""
        grid, seed = self.grid, self.grid.seeds[0]
        setup = grid.setup(self._run(game, CONDITIONS[0], seed))
        by_condition = {c: {s: grid.made(self._run(game, c, s)) for s in grid.seeds} for c in CONDITIONS}
        names = [*by_condition[CONDITIONS[0]][seed].scores, *setup.detectors]
        columns = [Column(key=n, title=f"exploit: {n}" if n == setup.headline else n) for n in names]
        rows = [
            Row(keys={"condition": c}, cells={n: _cell(played, n) for n in names}) for c, played in by_condition.items()
        ]
        differences = []
        for a, b in combinations(reversed(CONDITIONS), 2):
            cells = {}
            for name in ("task", setup.headline):
                x, y = _estimate(by_condition[a][seed], name), _estimate(by_condition[b][seed], name)
                cells[name] = Cell.of(minus(x, y) if x and y else None, "cluster")
            differences.append(Row(keys={"condition": a, "minus": b}, cells=cells))
        kept = [Column(key=n, title=n, kind="difference") for n in ("task", setup.headline)]
        note = f"Intervals over prompts, seed {seed}; other seeds are in results.json."
        return [
            Table(
                name=f"conditions-{game}", title=f"{game}: {grid.model}", row_keys=("condition",),
                columns=tuple(columns), rows=tuple(rows), notes=(note,),
            ),
            Table(
                name=f"differences-{game}", title=f"{game}: differences of conditions", row_keys=("condition", "minus"),
                columns=tuple(kept), rows=tuple(differences), notes=(note,),
            ),
        ]  # fmt: skip


def _estimate(summary: Summary, name: str) -> Estimate | None:
    return summary.rates.get(name) or summary.scores.get(name)


def _cell(played: dict[int, Summary], name: str) -> Cell:
    """The first seed's rate with its interval over prompts, and every seed."""
    by_seed = {s: _estimate(summary, name) for s, summary in played.items()}
    seen = [SeedValue(seed=s, value=e.value, low=e.low, high=e.high, n=e.n) for s, e in by_seed.items() if e]
    return Cell.of(next(iter(by_seed.values())), "cluster", seen)
