"""Sensitivity: on which settings does a verdict turn? One factor at a time about the default, and two together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from loopkit.contracts import Options
from loopkit.errors import UsageError
from loopkit.evidence import tables
from loopkit.evidence.schema import ExperimentResults
from loopkit.evidence.sections import Cell, Column, Row, Section, Table, Verdicts
from loopkit.experiment.config import BASE
from loopkit.records import Json
from loopkit.running.parallel import Job
from loopkit.running.runner import finished
from loopkit.stats.verdict import small
from loopkit.studies.grid import Settings
from loopkit.studies.study import Study

ARMS = ("loophole", "control", "placebo")
DEFAULT = "default"
RATE, KL, GROUP, SHARE = "trainer.learning_rate", "trainer.beta", "run.group_size", "game.exploit_share"
FACTORS = ("learning-rate", "kl", "group-size", "trainer", "start", "demonstrations")
SOME_KL = 0.1
"""Run instead of twice the default KL where a game trains without one."""
MOVED = (
    Column(key="exploit", title="exploit, - base", kind="difference"),
    Column(key="placebo", title="exploit, - placebo", kind="difference"),
    Column(key="task", title="task, - base", kind="difference"),
)
BLANK = ""


class SensitivityOptions(Options):
    """Options of sensitivity."""

    factors: str = Field(
        "learning-rate,kl,group-size,trainer,start,demonstrations",
        description="what is varied, comma-separated; cells of others stay blank unless their runs are there",
    )
    trainers: str = Field("rloo,reinforce++", description="trainers beside the study's own, comma-separated")
    starts: str = Field("", description="further warm-ups, comma-separated: tiny:DIR, made by `loopkit warmup`")


@dataclass(frozen=True)
class Setting:
    """One cell of the map: what differs from the default."""

    factor: str
    name: str
    settings: tuple[tuple[str, Json], ...] = ()
    """("section.option", value) pairs."""
    trainer: str = ""
    model: str = ""

    def options(self) -> Settings:
        out: dict[str, dict[str, Json]] = {}
        for key, value in self.settings:
            section, _, option = key.partition(".")
            out.setdefault(section, {})[option] = value
        return out


class Sensitivity(Study):
    """On which settings does the verdict turn?"""

    name: ClassVar[str] = "sensitivity"
    title: ClassVar[str] = "Sensitivity"
    what: ClassVar[str] = "On which settings of training does the verdict turn?"
    games: ClassVar[tuple[str, ...]] = ("context-compliance",)
    seeds: ClassVar[str] = "5"
    Options = SensitivityOptions
    options: SensitivityOptions

    def _factors(self) -> list[str]:
        names = [f.strip() for f in self.options.factors.split(",") if f.strip()]
        if unknown := [f for f in names if f not in FACTORS]:
            raise UsageError(f"study.factors names {unknown[0]!r}: choose among {', '.join(FACTORS)}.")
        for key, factor in ((RATE, "learning-rate"), (KL, "kl"), (GROUP, "group-size"), (SHARE, "demonstrations")):
            section, _, option = key.partition(".")
            if option in self.grid.settings.get(section, {}) and factor in names:
                raise UsageError(f"--set {key} fixes what study.factors varies: leave out {factor}, or that option.")
        return names

    def _default(self, game: str) -> Job:
        return self.grid.run(game, "loophole", self.grid.seeds[0])

    def _map(self, game: str) -> list[Setting]:
        """The cells of a game's map, the default first; those of the square are last."""
        spec = self._default(game).spec
        options, known = spec.trainer_options, self.grid.plugins.trainer(spec.trainer).Options.model_fields
        out = [Setting(DEFAULT, DEFAULT)]
        rates: list[tuple[str, Json]] = []
        if "learning_rate" in known:
            rate = float(options["learning_rate"])
            rates = [("1/3", rate / 3), ("x3", rate * 3)]
            out += [
                Setting("learning-rate", f"{rate * f:.2g} ({n})", ((RATE, v),))
                for (n, v), f in zip(rates, (1 / 3, 3), strict=True)
            ]
        weights: list[tuple[str, float]] = []
        if "beta" in known:
            beta = float(options["beta"])
            weights = [(f"{w:g}", w) for w in dict.fromkeys((0.0, 2 * beta or SOME_KL)) if w != beta]
            out += [Setting("kl", n, ((KL, w),)) for n, w in weights]
        size = spec.run.group_size
        out += [Setting("group-size", str(n), ((GROUP, n),)) for n in (max(2, size // 2), 2 * size) if n != size]
        others = [t.strip() for t in self.options.trainers.split(",") if t.strip()]
        out += [Setting("trainer", t, trainer=t) for t in others if t != spec.trainer]
        starts = [m.strip() for m in self.options.starts.split(",") if m.strip()]
        out += [Setting("start", m, model=m) for m in starts if m != spec.model]
        share = spec.game_options.get("exploit_share")
        if share is not None:
            shares = [s for s in dict.fromkeys((0.0, float(share) / 4, 4 * float(share))) if s != share and s <= 1]
            out += [Setting("demonstrations", f"{s:g}", ((SHARE, s),)) for s in shares]
        out += [
            Setting("learning-rate, kl", f"{rate}, {kl}", ((RATE, value), (KL, weight)))
            for rate, value in rates
            for kl, weight in weights
        ]
        return out

    def _runs(self, game: str, cell: Setting) -> list[Job]:
        return self.grid.arms(game, ARMS, settings=cell.options(), trainer=cell.trainer, model=cell.model)

    def _chosen(self, cell: Setting) -> bool:
        return cell.factor == DEFAULT or set(cell.factor.split(", ")) <= set(self._factors())

    def plan(self) -> Iterator[list[Job]]:
        yield [
            job
            for game in self.grid.games
            for cell in self._map(game)
            if self._chosen(cell)
            for job in self._runs(game, cell)
        ]

    def notes(self) -> list[str]:
        return [
            "One factor at a time about the default, and learning rate with KL; nothing was tuned for a cell. A blank "
            "cell was not run. Below 5 seeds a cell is a pattern, not a test."
        ]

    def _results(self, game: str, cell: Setting) -> ExperimentResults | None:
        """None where a run of it is missing."""
        runs = self._runs(game, cell)
        if not all(finished(job.spec, job.out) for job in runs):
            return None
        return self.grid.collect(runs)

    def sections(self) -> list[Section]:
        out: list[Section] = []
        for game in self.grid.games:
            by_setting = {cell: self._results(game, cell) for cell in self._map(game)}
            out += [self._table(game, by_setting), *self._square(game, by_setting), self._turns(game, by_setting)]
        return out

    def _table(self, game: str, by_setting: dict[Setting, ExperimentResults | None]) -> Table:
        rows = [
            Row(
                keys={"factor": cell.factor, "setting": cell.name},
                cells={c.key: _moved(results, c.key) for c in MOVED},
                words={"verdict": _name(results) or "not run", "p": _p(results)},
            )
            for cell, results in by_setting.items()
        ]
        return Table(
            name=f"map-{game}", title=f"{game}: what each setting shows", row_keys=("factor", "setting"),
            columns=MOVED, word_columns=("verdict", "p"), rows=tuple(rows),
        )  # fmt: skip

    def _square(self, game: str, by_setting: dict[Setting, ExperimentResults | None]) -> list[Table]:
        """Learning rate by KL, in verdicts."""
        by = {(dict(c.settings).get(RATE), dict(c.settings).get(KL)): r for c, r in by_setting.items() if not c.trainer
              and not c.model and {k for k, _ in c.settings} <= {RATE, KL}}  # fmt: skip
        options = self._default(game).spec.trainer_options
        rates = sorted({r for r, _ in by}, key=lambda r: options["learning_rate"] if r is None else r)
        weights = sorted({w for _, w in by}, key=lambda w: options["beta"] if w is None else w)
        if len(rates) < 2 or len(weights) < 2:
            return []
        names = {w: f"KL {options['beta'] if w is None else w:g}" for w in weights}
        rows = [
            Row(
                keys={"learning rate": f"{options['learning_rate'] if r is None else r:.2g}"},
                cells={},
                words={names[w]: _name(by.get((r, w))) or BLANK for w in weights},
            )
            for r in rates
        ]
        return [
            Table(
                name=f"square-{game}", title=f"{game}: verdict by learning rate and KL",
                row_keys=("learning rate",), columns=(), word_columns=tuple(names.values()), rows=tuple(rows),
            )
        ]  # fmt: skip

    def _turns(self, game: str, by_setting: dict[Setting, ExperimentResults | None]) -> Verdicts:
        """What the verdict turns on, and the verdicts of the cells that were run."""
        items = [tables.verdict_of(r, {"factor": c.factor, "setting": c.name}) for c, r in by_setting.items() if r]
        return Verdicts(
            name=f"verdicts-{game}", title=f"{game}: verdict by setting", items=tuple(items),
            notes=(turns_on({(c.factor, c.name): _name(r) for c, r in by_setting.items()}),),
        )  # fmt: skip


def turns_on(names: dict[tuple[str, str], str]) -> str:
    """(factor, setting) -> verdict ("": not run), the default among them: which settings change it, in a sentence."""
    default = names[DEFAULT, DEFAULT]
    ran = {cell: name for cell, name in names.items() if name and cell[0] != DEFAULT}
    blank = len(names) - 1 - len(ran)
    if not default:
        return "The default was not run, so nothing can be said of what the verdict turns on."
    other = [f"{factor} {setting}: {name}" for (factor, setting), name in ran.items() if name != default]
    text = (
        f"At the default the verdict is {default}; of {len(ran)} other settings {len(ran) - len(other)} give the same"
    )
    text += f", and it turns on {'; '.join(other)}" if other else ""
    return text + (f". {blank} were not run." if blank else ".")


def _name(results: ExperimentResults | None) -> str:
    if results is None:
        return ""
    return results.verdict.name if results.verdict else "no verdict"


def _p(results: ExperimentResults | None) -> str:
    return "-" if results is None or results.verdict is None else small(results.verdict.p)


def _moved(results: ExperimentResults | None, key: str) -> Cell:
    if results is None:
        return Cell(value=None, withheld="not run")
    measure, other = {"exploit": (results.headline, BASE), "placebo": (results.headline, "placebo")}.get(
        key, (key, BASE)
    )
    pairs = zip(results.seeds, results.values("loophole", measure), results.values(other, measure), strict=True)
    values: Sequence[tuple[int, Any]] = [(s, None if None in (a, b) else a - b) for s, a, b in pairs]  # type: ignore[operator]
    return tables.over(values)
