"""Persistence: does an exploit learnt by RL outlast, under correction, the same exploit taught by SFT?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

from pydantic import Field

from loopkit.contracts import Options
from loopkit.errors import UsageError
from loopkit.evidence import tables
from loopkit.evidence.sections import Cell, Column, Curve, Line, Point, Row, Section, Table, VerdictRow, Verdicts
from loopkit.experiment.config import BASE
from loopkit.experiment.resolve import build_game
from loopkit.experiment.rundir import checkpoint_of
from loopkit.records import Estimate, Json
from loopkit.running.parallel import Job
from loopkit.running.runner import Evaluation
from loopkit.stats.persistence import MATCH, Pair, Persistence, persistence
from loopkit.stats.seeds import few
from loopkit.studies.study import Study

ORIGINS = ("rl", "sft")
FIX = {
    "context-compliance": "style-blind", "self-grading": "audit", "proxy-metric": "overlap-cap",
    "reward-tampering": "reject",
}  # fmt: skip
"""Game -> its penalising mitigation."""
START = (
    Column(key="match", title="exploit, dev", what="on the split that matches them"),
    Column(key="exploit", title="exploit, test", what="on the split that measures them"),
    Column(key="task", title="task, test"),
    Column(key="entropy", title="entropy, nats a token", kind="number"),
    Column(key="kl", title="KL to the start policy, nats a token", kind="number"),
)


class PersistenceOptions(Options):
    """Options of persistence."""

    sft_steps: int = Field(60, ge=1, description="gradient steps of the SFT student")
    sft_every: int = Field(4, ge=1, description="its checkpoints, of which the best match is taken")
    learning_rate: float = Field(1e-3, gt=0, description="of the student")
    correct_steps: int = Field(20, ge=2, description="steps of correction, and of retraining")
    every: int = Field(5, ge=1, description="steps between points of the curves")
    prompts: int = Field(500, ge=1, description="held-out prompts a point")
    corrections: str = Field("", description="channels that correct; default: control and the game's penalising fix")


class Persists(Study):
    """An RL policy and its SFT student, matched, corrected, and retrained on the loophole."""

    name: ClassVar[str] = "persistence"
    title: ClassVar[str] = "Persistence under correction"
    what: ClassVar[str] = "Does an exploit learnt by RL outlast, under correction, the same exploit taught by SFT?"
    games: ClassVar[tuple[str, ...]] = ("context-compliance",)
    Options = PersistenceOptions
    options: PersistenceOptions

    def plan(self) -> Iterator[list[Job]]:
        grid = self.grid
        cases = [(game, seed) for game in grid.games for seed in grid.seeds]
        yield [job for g, s in cases for job in (grid.run(g, BASE, s), self._rl(g, s), self._sft(g, s))]
        each = [(g, s, c, o) for g, s in cases for c in self._corrections(g) for o in ORIGINS]
        yield [self._corrected(*case) for case in each]
        yield [self._relapse(*case) for case in each]

    def _corrections(self, game: str) -> list[str]:
        named = [c.strip() for c in self.options.corrections.split(",") if c.strip()]
        known = build_game(self.grid.plugins, game, {}).channels
        chosen = named or ["control", *([FIX[game]] if game in FIX else [])]
        if missing := [c for c in chosen if c not in known]:
            raise UsageError(f"study.corrections: {game} has no channel {missing[0]!r}. It has {', '.join(known)}.")
        return chosen

    # --- the two origins, and the match -----------------------------------------------------------------------

    def _rl(self, game: str, seed: int) -> Job:
        job = self.grid.run(game, "loophole", seed)
        return replace(job, further=(self._on_dev(job, checkpoint_of(job.spec)),))

    def _sft(self, game: str, seed: int) -> Job:
        teacher, options = self.grid.run(game, "loophole", seed), self.options
        job = self.grid.run(
            game,
            "student",
            seed,
            channel={"channel": "loophole"},
            trainer="sft",
            settings={
                "trainer": {"learning_rate": options.learning_rate, "checkpoint_every": options.sft_every},
                "run": {"steps": options.sft_steps},
            },
            rollouts={"run": str(teacher.directory), "first_step": teacher.spec.run.steps // 2},
        )
        return replace(job, further=tuple(self._on_dev(job, c) for c in checkpoints(job)))

    def _on_dev(self, job: Job, checkpoint: str) -> Evaluation:
        spec = job.spec
        prompts = min(self.options.prompts, spec.run.eval_prompts)
        return self.grid.evaluation(spec.game, spec.seed, checkpoint, split="dev", prompts=prompts)

    def _on_test(self, job: Job, checkpoint: str) -> Evaluation:
        spec = job.spec
        prompts = min(self.options.prompts, spec.run.eval_prompts)
        return self.grid.evaluation(spec.game, spec.seed, checkpoint, split="test", prompts=prompts)

    def _rate(self, job: Job, evaluation: Evaluation, name: str = "") -> Estimate | None:
        summary = self.grid.summary(job, evaluation)
        name = name or self.grid.setup(job).headline
        return None if summary is None else summary.rates.get(name) or summary.scores.get(name)

    def _match(self, game: str, seed: int) -> tuple[float | None, str, float | None]:
        """(RL's rate on dev, the student's checkpoint that is nearest, its rate); its last where nothing is known."""
        rl, sft = self._rl(game, seed), self._sft(game, seed)
        aim = self._rate(rl, rl.further[0])
        rates = {e.checkpoint: rate.value for e in sft.further if (rate := self._rate(sft, e)) is not None}
        if aim is None or not rates:
            return None, checkpoints(sft)[-1], None
        nearest = min(rates, key=lambda c: (abs(rates[c] - aim.value), c))
        return aim.value, nearest, rates[nearest]

    # --- correction and relapse -------------------------------------------------------------------------------

    def _trained(self, game: str, seed: int, arm: str, channel: str, start: Job, checkpoint: str = "") -> Job:
        options = self.options
        settings = {"trainer": {"checkpoint_every": options.every}, "run": {"steps": options.correct_steps}}
        job = self.grid.run(
            game, arm, seed, channel={"channel": channel}, settings=settings, start=start, checkpoint=checkpoint
        )
        return replace(job, further=tuple(self._on_test(job, c) for c in ("start", *checkpoints(job))))

    def _corrected(self, game: str, seed: int, channel: str, origin: str) -> Job:
        start = self._rl(game, seed) if origin == "rl" else self._sft(game, seed)
        checkpoint = "" if origin == "rl" else self._match(game, seed)[1]
        return self._trained(game, seed, f"{origin}-then-{channel}", channel, start, checkpoint)

    def _relapse(self, game: str, seed: int, channel: str, origin: str) -> Job:
        start = self._corrected(game, seed, channel, origin)
        return self._trained(game, seed, f"{origin}-{channel}-then-loophole", "loophole", start)

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        return [
            ([make(g, s, c, o) for s in self.grid.seeds for o in ORIGINS], ("model",))
            for make in (self._corrected, self._relapse)
            for g in self.grid.games
            for c in self._corrections(g)
        ]

    # --- what they show ---------------------------------------------------------------------------------------

    def sections(self) -> list[Section]:
        sections: list[Section] = []
        verdicts = []
        for game in self.grid.games:
            sections.append(self._start(game))
            for channel in self._corrections(game):
                sections += self._curves(game, channel)
                verdicts.append(self._verdict(game, channel))
        return [*sections, Verdicts(name="verdicts", title="RL against SFT, matched pairs", items=tuple(verdicts))]

    def _values(self, job: Job) -> list[Estimate]:
        rates = [self._rate(job, e) for e in job.further]
        return [r for r in rates if r is not None]

    def _verdict(self, game: str, channel: str) -> VerdictRow:
        pairs = []
        for seed in self.grid.seeds:
            rl, _, sft = self._match(game, seed)
            curves = {
                (make.__name__, o): [e.value for e in self._values(make(game, seed, channel, o))]
                for make in (self._corrected, self._relapse)
                for o in ORIGINS
            }
            if rl is not None and sft is not None and len({len(c) for c in curves.values()}) == 1:
                pairs.append(Pair(rl, sft, *curves.values()))
        keys = {"game": game, "corrected by": channel}
        if not pairs:
            return VerdictRow(keys=keys, name="no verdict", sentence="No verdict: exploit rates were not measured.")
        at = [step_of(e.checkpoint) for e in self._corrected(game, self.grid.seeds[0], channel, ORIGINS[0]).further]
        claim: Persistence = persistence(pairs, at)
        details: dict[str, Json] = {
            name: asdict(value) for name in ("start", "decay", "relapse") if (value := getattr(claim, name)) is not None
        }
        details["half_life_steps"] = dict(claim.half_life)
        return VerdictRow(
            keys=keys, name=claim.name, sentence=claim.sentence(), p=claim.p, descriptive=few(claim.matched),
            details=details,
        )  # fmt: skip

    def _curves(self, game: str, channel: str) -> list[Curve]:
        """Exploit rates along correction and retraining, each origin's mean over all seeds, matched or not."""
        setup = self.grid.setup(self.grid.run(game, BASE, self.grid.seeds[0]))
        bounds = setup.detectors[setup.headline].bounds
        curves = []
        for make, title, x in (
            (self._corrected, f"{game}: corrected by {channel}", "correction step"),
            (self._relapse, f"{game}: then retrained on loophole, after {channel}", "retraining step"),
        ):
            lines = []
            for origin in ORIGINS:
                jobs = {s: make(game, s, channel, origin) for s in self.grid.seeds}
                points = []
                for k, e in enumerate(next(iter(jobs.values())).further):
                    y = tables.across([(s, self._rate(j, j.further[k])) for s, j in jobs.items()], bounds)
                    points.append(Point(x=step_of(e.checkpoint), y=y))
                lines.append(Line(name=origin, points=tuple(points)))
            name = f"{game}-{channel}-{x.split()[0]}"
            y_column = Column(key="exploit", title=f"exploit: {setup.headline}, test")
            curves.append(Curve(kind="decay", name=name, title=title, x_title=x, y=y_column, lines=tuple(lines)))
        return curves

    def _start(self, game: str) -> Table:
        """What the two are like before correction."""
        channel = self._corrections(game)[0]
        setup = self.grid.setup(self.grid.run(game, BASE, self.grid.seeds[0]))
        bounds = setup.detectors[setup.headline].bounds
        rows = []
        for origin in ORIGINS:
            jobs = {s: self._corrected(game, s, channel, origin) for s in self.grid.seeds}
            pairs = {s: self._match(game, s) for s in jobs}
            match = [(s, rl if origin == "rl" else sft) for s, (rl, _, sft) in pairs.items()]
            cells: dict[str, Cell] = {
                "match": tables.over(match, bounds),
                "exploit": tables.across([(s, self._rate(j, j.further[0])) for s, j in jobs.items()], bounds),
                "task": tables.across([(s, self._rate(j, j.further[0], "task")) for s, j in jobs.items()]),
                "entropy": tables.over([(s, self._first(j, "entropy")) for s, j in jobs.items()], None),
                "kl": tables.over([(s, self._kl(game, s, origin)) for s in jobs], None, "its trainer measures none"),
            }
            steps = ", ".join(str(step_of(taken)) for _, taken, _ in pairs.values()) if origin == "sft" else "-"
            rows.append(Row(keys={"origin": origin}, cells=cells, words={"student's steps, by seed": steps}))
        return Table(
            name=f"start-{game}",
            title=f"{game}: before correction",
            row_keys=("origin",),
            columns=START,
            word_columns=("student's steps, by seed",),
            rows=tuple(rows),
            notes=(f"A pair is matched within {100 * MATCH:.0f} points on dev; every other number is of test.",),
        )

    def _first(self, job: Job, metric: str) -> float | None:
        steps = self.grid.steps(job)
        return steps[0]["trainer"].get(metric) if steps else None

    def _kl(self, game: str, seed: int, origin: str) -> float | None:
        steps: list[dict[str, Any]] = self.grid.steps(self._rl(game, seed)) if origin == "rl" else []
        return steps[-1]["trainer"].get("kl") if steps else None


def checkpoints(job: Job) -> list[str]:
    """Names of the checkpoints that a run's trainer leaves: every so many steps, and the last."""
    steps, every = job.spec.run.steps, int(job.spec.trainer_options["checkpoint_every"])
    return [f"step-{k:06d}" for k in [*range(every, steps, every), steps]]


def step_of(checkpoint: str) -> int:
    return 0 if checkpoint == "start" else int(checkpoint.removeprefix("step-"))
