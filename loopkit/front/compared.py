"""``loopkit.compare``: arms trained anywhere, judged alike, with the tables and verdicts of loopkit's own runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loopkit.checks import Report
from loopkit.elsewhere import games, keeping, owned
from loopkit.elsewhere.arms import Run, arms, of_file
from loopkit.elsewhere.imported import Import, Judging
from loopkit.elsewhere.judging import Judge, by_prompt, criteria_of
from loopkit.elsewhere.recorded import NAME, Criteria
from loopkit.errors import UsageError
from loopkit.evidence import tables, write
from loopkit.evidence.results import collect
from loopkit.evidence.schema import Compared
from loopkit.evidence.verdicts import UNKNOWN
from loopkit.experiment.config import BASE, RunSpec, parse_set
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import read_spec
from loopkit.front.directories import claim_as
from loopkit.front.outcome import Result
from loopkit.front.sections import whole
from loopkit.front.tables import Table
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.rollouts.scoring import Setup
from loopkit.running.runner import check
from loopkit.system.files import locked

ASKED = "compare.toml"
SETTINGS = ("reward", "trusted", "label", "reward_range", "trusted_range", "passes", "game", "data", "paid", "last")
"""What a TOML file of arms may set beside them."""
NOTHING = (
    "nothing says what an exploit is here: give a trusted reward (--trusted FILE.py:FUNCTION or a column), a reader's "
    "labels (--label COLUMN), or the game that these are rollouts of (--game NAME)"
)


class Comparison(Result):
    """What ``loopkit.compare`` found: a ``Result``, and each arm minus the others, paired by seed."""

    def paired(self) -> Table:
        """Differences between arms, with every seed's in the records."""
        return whole(tables.paired(self.results))


def compare(
    arms_of: Mapping[str, str | Path | Sequence[str | Path]] | str | Path,
    *,
    reward: str = "",
    trusted: str = "",
    label: str = "",
    reward_range: tuple[float, float] | None = None,
    trusted_range: tuple[float, float] | None = None,
    passes: float | None = None,
    game: str | None = None,
    options: Sequence[str] = (),
    data: str | Path | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    paid: str | None = None,
    last: int | None = None,
    out: str | Path | None = None,
) -> Comparison:
    """Compare arms that were trained anywhere: logs, directories of logs, or run directories of loopkit's.

    ``arms_of``: arm -> paths, or a TOML file that names them; "loophole", "control", "placebo" and "base" are what a
    verdict speaks of. The exploit rate is that of ``label`` (a column), of a disagreement between ``reward`` and
    ``trusted`` (columns, or FILE.py:FUNCTION), or of ``game``'s detectors. Writes run directories and ``results.json``
    into ``out`` (default: ``runs/compare-<hash>``). Raises UsageError for what cannot be compared, naming the cure.
    """
    named, settings = _named(arms_of)
    given: dict[str, Any] = {
        "reward": reward, "trusted": trusted, "label": label, "reward_range": reward_range,
        "trusted_range": trusted_range, "passes": passes, "game": game, "data": None if data is None else str(data),
        "paid": paid, "last": last,
    }  # fmt: skip
    asked = {**settings, **{k: v for k, v in given.items() if v not in (None, "")}}
    return _Comparing(named, asked, options, format, dict(columns or {})).perform(out)


def _named(arms_of: Mapping[str, Any] | str | Path) -> tuple[dict[str, list[str]], dict[str, Json]]:
    """(arm -> paths, what a file sets beside them)."""
    if isinstance(arms_of, Mapping):
        several = {arm: p if isinstance(p, (list, tuple)) else [p] for arm, p in arms_of.items()}
        return {arm: [str(p) for p in paths] for arm, paths in several.items()}, {}
    named, settings = of_file(Path(arms_of))
    if unknown := settings.keys() - set(SETTINGS):
        raise UsageError(f"{arms_of} sets {', '.join(sorted(unknown))}. Known: arms, {', '.join(SETTINGS)}.")
    return named, settings


def _by_game(setup: Setup) -> Judging:
    return lambda rows, seed, paid, question: games.judge(setup, rows, seed, paid)


class _Comparing:
    """One comparison, from what was asked for to its results."""

    def __init__(
        self, named: Mapping[str, Sequence[str]], asked: Mapping[str, Json], game_options: Sequence[str],
        format: str | None, columns: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.asked, self.format, self.columns = dict(asked), format, dict(columns)
        self.arms = arms(named)
        self.plugins = registry.load()
        self.runs = list(self.arms.runs)
        self.notes = list(self.arms.notes)
        own = [run for run in self.runs if run.own]
        trained = len(own) < len(self.runs) or self.asked.get("last") is not None
        self.held_out = not trained and all(owned.evaluated(run.path) for run in own)
        if self.held_out:
            self._with_bases()
        self.own = {(run.arm, run.seed): read_spec(run.path) for run in self.runs if run.own}
        if self.own:
            owned.same(list(self.own.values()))
        self.game_options = game_options
        self.first = next(iter(self.own.values()), None)
        self.setup, self.judge, self.options = self._judge()

    def _with_bases(self) -> None:
        """The base runs that lie beside the loophole's, where none were named."""
        runs = {run.seed: run.path for run in self.runs if run.arm == "loophole"}
        if runs and not any(run.arm == BASE for run in self.runs) and (beside := owned.bases(runs)):
            self.runs += [Run(BASE, seed, path) for seed, path in beside.items()]
            self.notes.append("base: the runs base-s* beside the loophole's")

    def _judge(self) -> tuple[Setup, Judging, Criteria | None]:
        """What judges every run alike: a game, or a trusted reward and labels."""
        game, first = self.asked.get("game"), self.first
        if first is not None and first.game != NAME:
            if game not in (None, first.game) and any(not run.own for run in self.runs):
                raise UsageError(f"--game {game}: the run {first.name} is of {first.game}. Name that, or leave it out.")
            if game is None and (log := next((run for run in self.runs if not run.own), None)):
                raise UsageError(
                    f"{log.path} is a log, and {first.name} a run of {first.game}: to judge both alike, give "
                    f"--game {first.game}."
                )
            setup = set_up(self.plugins, first)
            return setup, _by_game(setup), None
        if game is not None:
            return self._of_game(game)
        wanted = {k: self.asked[k] for k in SETTINGS[:6] if k in self.asked}
        if first is not None and not wanted:
            options = Criteria.model_validate(first.game_options)
        else:
            options = criteria_of(**wanted)
        if first is not None and options.model_dump(mode="json") != first.game_options:
            raise UsageError(
                f"the run {first.name} was watched with other settings than these ({first.game_options}). Give the "
                "same, or compare logs."
            )
        data = self.asked.get("data")
        judge = Judge(options, by_prompt(Path(data)) if data else None)
        return judge.setup, judge.judge, options

    def _of_game(self, game: str) -> tuple[Setup, Judging, None]:
        if wanted := [k for k in ("reward", "trusted", "label") if self.asked.get(k)]:
            raise UsageError(f"--{wanted[0]}: a game judges by its own detectors and scores. Leave it out, or --game.")
        options = parse_set(self.game_options, ("game",)).get("game", {})
        setup = games.set_up(game, options, self.asked.get("data"))
        return setup, _by_game(setup), None

    def _spec(self, run: Run, steps: int, n: int, trainer: str) -> RunSpec:
        """What a run's run.toml says."""
        arm, seed = run.arm, run.seed
        known = self.own.get((arm, seed), self.first)
        if self.options is not None:
            model, by = (known.model, known.trainer) if known else (keeping.UNKNOWN, trainer)
            return keeping.spec_of(arm, seed, self.options, steps, n, trainer=by, model=model)
        game = self.asked.get("game") or (self.first.game if self.first else "")
        if (arm, seed) in self.own:
            spec = self.own[arm, seed].model_copy(update={"arm": arm})
            if not self.held_out:
                spec = spec.model_copy(update={"run": spec.run.model_copy(update={"eval_split": "train"})})
            return spec
        return keeping.spec_of_game(arm, seed, self.setup, game, steps, n, trainer=trainer)

    def perform(self, out: str | Path | None) -> Comparison:
        """Read every run, and write what they show."""
        asked = self._asked()
        digest = hashlib.sha256(json.dumps([asked, self._files()], sort_keys=True).encode()).hexdigest()[:12]
        directory = Path(out) if out is not None else Path("runs") / f"compare-{digest}"
        claim_as(directory, ASKED, asked | {"files": digest})
        with locked(directory):
            reading = Import(
                directory, self.setup, self.judge, self._spec, self.format, self.columns, self.asked.get("paid"),
                self.asked.get("last"), held_out=self.held_out,
            )  # fmt: skip
            for run in sorted(self.runs, key=lambda run: run.arm != "loophole"):  # what it was paid by is in question
                reading.run(run)
            reading.specs.sort(key=lambda spec: spec.arm != BASE)
            if self.options is not None:
                named = {"reward": self.options.reward, "trusted": self.options.trusted, "label": self.options.label}
                reading.require({option: column for option, column in named.items() if column})
            reading.base()
            checked = self._checked(reading.specs, directory)
            results = collect(reading.specs, directory, self.setup, checked)
            results = results.model_copy(update={
                "compared": Compared(measured=reading.measured(), sources=reading.sources,
                                     notes=(*self.notes, *reading.told(), *self._withheld())),
            })  # fmt: skip
            write.all_of(results, directory)
        return Comparison(directory, results)

    def _checked(self, specs: Sequence[RunSpec], out: Path) -> Report:
        """What a verdict may say: of a game what its checks say, else what the user gave."""
        if self.options is None:
            return check(specs[0].model_copy(update={"channel": "loophole"}), self.setup, out)
        status: Any = "labelled" if self.options.label else "unproven" if self.options.trusted else UNKNOWN
        return Report(NAME, status, (), () if self.options.exploit else (NOTHING,))

    def _withheld(self) -> list[str]:
        if self.options is None or self.options.trusted:
            return []
        if self.options.label:
            return ["task: no trusted reward says how good a reply is, and a verdict asks (--trusted)"]
        return []

    def _asked(self) -> dict[str, Json]:
        named = {arm: [f"{r.seed}:{r.path}" for r in self.runs if r.arm == arm] for arm in self.arms.names}
        options = {} if self.options is None else {"options": self.options.model_dump(mode="json")}
        return {"arms": named, **self.asked, "set": list(self.game_options), "format": self.format or "",
                "columns": self.columns, **options}  # fmt: skip

    def _files(self) -> list[tuple[str, int, int]]:
        """Name, size and time of all that is read: other logs are another comparison."""
        files = [f for r in self.runs for f in ([r.path] if r.path.is_file() else sorted(r.path.glob("*")))]
        return [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
