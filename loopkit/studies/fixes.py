"""Fixes: every intervention and mitigation as an arm of a game, under one budget; what each did, and its price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from loopkit.contracts import Options
from loopkit.errors import UsageError, nearest
from loopkit.evidence import tables
from loopkit.evidence.claims import OnFix
from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.sections import Cell, Column, Row, Section, Table, VerdictRow, Verdicts
from loopkit.experiment.arms import AND, make
from loopkit.experiment.config import BASE
from loopkit.experiment.resolve import build_game, own_channels
from loopkit.interventions import WORDS
from loopkit.running.parallel import Job
from loopkit.stats.claims import ALPHA, most
from loopkit.stats.contrasts import holm
from loopkit.studies.study import Study

COMPARED = ("loophole", "control", "placebo")
UNSHOWN = "not shown in the family"
"""What a claim is called that its own tests show, and Holm over all of the game's fixes does not."""
COLUMNS = (
    Column(key="exploit", title="exploit", what="the headline detector's rate"),
    Column(key="task", title="task", what="the true goal"),
    Column(key="monitor", title="monitor", what="the rate of what the arm watches, in that arm"),
    Column(key="tokens", title="k tokens", kind="number", what="sampled in training, in thousands, mean over seeds"),
    Column(key="seconds", title="CPU s", kind="number", what="of a run, evaluation included, mean over seeds"),
)


class FixesOptions(Options):
    """Options of fixes."""

    fixes: str = Field("all", description="interventions and channels to try, comma-separated; all: every one")
    monitor: str = Field(WORDS, description="the detector that every monitor watches")


class Fixes(Study):
    """Which fix of the field closes the loophole, what does it cost, and which monitor is itself hacked?"""

    name: ClassVar[str] = "fixes"
    title: ClassVar[str] = "Fixes"
    what: ClassVar[str] = (
        "Which fix closes the loophole, at what price, and which monitor is itself hacked by the training it watches?"
    )
    games: ClassVar[tuple[str, ...]] = ("reward-tampering",)
    Options = FixesOptions
    options: FixesOptions

    def _known(self, game: str) -> dict[str, str]:
        """Fix -> its arm: interventions beside ``loophole``, and the game's own mitigations."""
        plugins = self.grid.plugins
        built = build_game(plugins, game, dict(self.grid.settings.get("game", {})))
        mitigations = [n for n in own_channels(built) if n not in COMPARED]
        parts = {name: f"loophole{AND}{name}" for name in plugins.names("interventions")}
        return parts | {name: name for name in mitigations if name not in parts}

    def _fixes(self, game: str) -> dict[str, str]:
        """Those that are asked for."""
        known = self._known(game)
        if self.options.fixes == "all":
            return known
        chosen = [name.strip() for name in self.options.fixes.split(",")]
        for name in chosen:
            if name not in known:
                raise UsageError(f"study.fixes: {game} has no fix {name!r}. {nearest(name, known)}")
        return {name: known[name] for name in dict.fromkeys(chosen)}

    def _run(self, game: str, arm: str, seed: int) -> Job:
        name = arm.partition(AND)[2]
        options = {"monitor": self.options.monitor} if name and self._watches(name) else {}
        return self.grid.run(game, arm, seed, channel={name: options} if options else None, watch=self._watch(game))

    def _watches(self, name: str) -> bool:
        return bool(make(self.grid.plugins, name, {}, "study.fixes").watched)

    def _watch(self, game: str) -> tuple[str, ...]:
        """What looks at every arm: the monitor, where some fix that is tried watches it."""
        tried = (name for name, arm in self._fixes(game).items() if AND in arm)
        asked = self.options.monitor in self.grid.plugins.detectors(game)
        return (self.options.monitor,) if asked and any(map(self._watches, tried)) else ()

    def _runs(self, game: str) -> list[Job]:
        compared = [arm for arm in COMPARED if arm in self._channels(game)]
        arms = (BASE, *compared, *self._fixes(game).values())
        return [self._run(game, arm, seed) for arm in arms for seed in self.grid.seeds]

    def _channels(self, game: str) -> set[str]:
        return {*own_channels(build_game(self.grid.plugins, game, dict(self.grid.settings.get("game", {}))))}

    def plan(self) -> Iterator[list[Job]]:
        yield [job for game in self.grid.games for job in self._runs(game)]

    def comparisons(self) -> list[tuple[Sequence[Job], Sequence[str]]]:
        return [(self._runs(game), ()) for game in self.grid.games]

    def sections(self) -> list[Section]:
        by_game = {game: self.grid.collect(self._runs(game)) for game in self.grid.games}
        named = {game: self._judged(game, results) for game, results in by_game.items()}
        rows = [row for game, results in by_game.items() for row in self._rows(game, results, named[game])]
        words = ("verdict",)
        return [
            Table(name="fixes", title="Fixes: what each did, and its price", row_keys=("game", "arm"), columns=COLUMNS,
                  word_columns=words, rows=tuple(rows)),
            Verdicts(name="verdicts", title="What each fix did", items=tuple(
                row for game in self.grid.games for row in named[game].values()
            )),
            tables.main_table(by_game, "arms", "Every arm"),
        ]  # fmt: skip

    def _judged(self, game: str, results: ExperimentResults) -> dict[str, VerdictRow]:
        """Arm -> its verdict, its p-value Holm's over all fixes of the game."""
        if results.checked.status != "proven":
            return {"": tables.verdict_of(results, {"game": game})}
        claims = {arm: results.mitigations[arm] for arm in self._fixes(game).values() if arm in results.mitigations}
        return {arm: _in_family(game, arm, claim, claims) for arm, claim in claims.items()}

    def _rows(self, game: str, results: ExperimentResults, named: dict[str, VerdictRow]) -> list[Row]:
        return [
            Row(
                keys={"game": game, "arm": arm},
                cells=self._cells(game, arm, results),
                words={"verdict": named[arm].name.removeprefix("pattern: ") if arm in named else ""},
            )
            for arm in results.arm_names
        ]

    def _cells(self, game: str, arm: str, results: ExperimentResults) -> dict[str, Cell]:
        jobs = [self._run(game, arm, seed) for seed in self.grid.seeds]
        watched = next((i.options["monitor"] for i in jobs[0].spec.interventions if "monitor" in i.options), "")
        monitor = watched or (self.options.monitor if self.options.monitor in results.detectors else "")
        none = Cell(value=None, withheld="nothing watches")
        return {
            "exploit": tables.measure(results, arm, results.headline),
            "task": tables.measure(results, arm, "task"),
            "monitor": tables.measure(results, arm, monitor) if monitor else none,
            "tokens": tables.over([(job.spec.seed, self._tokens(job)) for job in jobs], None, "not trained"),
            "seconds": tables.over([(job.spec.seed, self.grid.cost([job])[1]) for job in jobs], None),
        }

    def _tokens(self, job: Job) -> float | None:
        """Thousands of tokens that a run sampled in training, where its trainer counts them."""
        counted = [step["trainer"]["tokens"] for step in self.grid.steps(job) if "tokens" in step["trainer"]]
        return sum(counted) / 1000 if counted else None

    def notes(self) -> list[str]:
        most_fixes = max(len(self._fixes(game)) for game in self.grid.games)
        enough = next(n for n in range(1, 99) if most(n, n) * most_fixes <= ALPHA)
        return [
            f"Claims are Holm's over the {most_fixes} fixes of a game: with fewer than {enough} seeds, all alike, none "
            "can be shown. Each arm has the same steps and rollouts, at each fix's defaults."
        ]


def _in_family(game: str, arm: str, claim: OnFix, claims: dict[str, OnFix]) -> VerdictRow:
    """A claim as it stands in the family of all fixes of a game."""
    row = tables.from_claim(claim, {"game": game, "fix": arm})
    tested = {a: c.p for a, c in claims.items() if c.p is not None}
    if arm not in tested:
        return row
    of = len([c for c in claims.values() if c.name != "not applicable"])
    p = [*tested.values(), *[1.0] * (of - len(tested))]
    adjusted = holm(p)[list(tested).index(arm)]
    if adjusted <= ALPHA:
        return row.model_copy(update={"p": adjusted, "sentence": f"{claim.sentence} Holm over {of} fixes: p = "
                              f"{adjusted:.3f}."})  # fmt: skip
    sentence = f"{arm}, {UNSHOWN}: by itself '{claim.name}', and Holm over {of} fixes gives p = {adjusted:.3f}. "
    return row.model_copy(update={"name": UNSHOWN, "p": adjusted, "sentence": sentence + claim.sentence})
