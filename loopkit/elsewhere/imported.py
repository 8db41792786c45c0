"""Arms -> run directories, judged alike: each run's steps, what it is measured by, and the start policy of its seed.

A run is measured by the last steps of its training, and its start by the first: prompts are those it was trained on.
Where every run is loopkit's own and was evaluated, its evaluation on held-out prompts is taken instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from loopkit.contracts import Split
from loopkit.elsewhere import keeping, owned
from loopkit.elsewhere.arms import Run
from loopkit.elsewhere.findings import paid_column
from loopkit.elsewhere.formats import Columns, Log, read
from loopkit.elsewhere.judging import Judged
from loopkit.elsewhere.parts import Logged
from loopkit.elsewhere.recorded import Elsewhere
from loopkit.errors import UsageError, nearest
from loopkit.experiment.config import BASE, RunSpec
from loopkit.experiment.rundir import RunDir, checkpoint_of, read_spec
from loopkit.records import Scored
from loopkit.rollouts.scoring import PAID, Setup

LEAST, SHARE = 5, 0.1
"""Steps at a run's end that it is measured by: a tenth of them, at least so many, and at most half."""
EARLY = 0.05
"""A first logged step within this share of the run is near enough to its start."""
Judging = Callable[[Sequence[Logged], int, str | None, str | None], Judged]
"""(rows of one run, its seed, the column that was paid, that of the loophole's arm) -> scored."""
Steps = Iterable[tuple[int, Sequence[Scored], Mapping[str, float]]]


@dataclass
class Import:
    """Reads runs into ``out``. ``spec``: (arm, seed, steps, rollouts measured, trainer) -> what its run.toml says."""

    out: Path
    setup: Setup
    judge: Judging
    spec: Callable[[Run, int, int, str], RunSpec]
    format: str | None = None
    columns: Columns = field(default_factory=dict)
    paid: str | None = None
    last: int | None = None
    question: str | None = None
    """The column that the loophole's arm was paid by: the reward in question, if none was named."""
    held_out: bool = False
    """Every run is loopkit's own and was evaluated."""
    notes: list[str] = field(default_factory=list)
    specs: list[RunSpec] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    without: dict[str, Counter[str]] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    starts: dict[int, list[list[Scored]]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    """Names of the logs' columns."""
    lengths: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Run -> (logged steps, those it is measured by, the last)."""

    def run(self, run: Run) -> None:
        """Read one run and keep it."""
        trainer = keeping.UNKNOWN
        if run.own:
            tasks = {t.id: t for split in _splits(self.setup, run.path) for t in self.setup.game.tasks(split)}
            steps: Steps = owned.steps(run.path, tasks)
            rest = owned.held_out(run.path, tasks) if self.held_out else []
        else:
            log = read([run.path], self.format, self.columns, whole=True)
            trainer = "+".join(log.formats)
            steps, rest = self._judged(run, log)
        self.sources[_name(run)] = str(run.path)
        self._keep(run, steps, rest, trainer)

    def _judged(self, run: Run, log: Log) -> tuple[Steps, list[Scored]]:
        """(the steps of a log, the rollouts of no step)."""
        unseen: list[str] = []
        paid = paid_column(log, self.paid, unseen) if self.paid is None or _has(log, self.paid) else None
        if run.arm == "loophole":
            self.question = self.question or paid
        judged = self.judge(log.rows, run.seed, paid, self.question)
        self.without.setdefault(run.arm, Counter()).update(judged.without)
        self.rows[run.arm] += len(log.rows)
        self.seen.update(*(row.numbers for row in log.rows), *(row.row or () for row in log.rows[:1]))
        if log.skipped:
            first = log.skipped[0]
            self.notes.append(
                f"{_name(run)}: {len(log.skipped)} rows or files could not be read, the first: {first.why}"
            )
        by_step: dict[int, list[Scored]] = {}
        rest: list[Scored] = []
        for step, one in zip(judged.steps, judged.scored, strict=True):
            (rest if step is None else by_step.setdefault(step, [])).append(one)
        if rest and by_step:
            self.notes.append(f"{_name(run)}: {len(rest)} rows have no step, and are left out")
            rest = []
        return [(step, by_step[step], {}) for step in sorted(by_step)], rest

    def _keep(self, run: Run, steps: Steps, rest: list[Scored], trainer: str) -> None:
        """Write a run's directory: its steps as they come, then what it is measured by."""
        kept = list(steps)
        numbers = [step for step, *_ in kept]
        wanted = ending(len(kept), self.last)
        at_end = rest or [one for _, scored, _ in kept[len(kept) - wanted :] for one in scored]
        if isinstance(self.setup.game, Elsewhere):  # its tasks are what was logged
            self.setup.game.known |= {one.rollout.task.id: one.rollout.task for _, scored, _ in kept for one in scored}
        if not at_end:
            raise UsageError(f"{run.path}: no rollout of it could be judged ({self._lacking(run.arm)}).")
        spec = self.spec(run, (numbers[-1] + 1) if numbers else 1, len(at_end), trainer)
        directory = RunDir(self.out / spec.name, prompts=True)
        directory.begin(spec, keeping.manifest(read_from=str(run.path)))
        if run.arm != BASE:
            for step, scored, metrics in kept:
                keeping.keep_step(directory, self.setup, step, scored, metrics)
        keeping.keep_end(directory, self.setup, spec, spec.run.eval_split, checkpoint_of(spec), at_end)
        self.specs.append(spec)
        if rest or len(kept) < 2 or run.arm == BASE:
            return
        self.lengths[_name(run)] = (len(kept), wanted, numbers[-1])
        if numbers[0] <= max(1, EARLY * numbers[-1]):
            self.starts.setdefault(run.seed, []).append([_of_arm(one, run.arm) for one in kept[0][1]])
        else:
            self.notes.append(
                f"{_name(run)}: its first logged step is {numbers[0]} of {numbers[-1]}, no start policy's"
            )

    def base(self) -> None:
        """The start policy by seed: the first step of the runs of each seed, where no arm ``base`` was given."""
        if any(spec.arm == BASE for spec in self.specs) or self.held_out:
            return
        made = []
        for seed, starts in sorted(self.starts.items()):
            columns = [{n for n in scored[0].rewards if n != PAID} for scored in starts]
            alike = [scored for scored, names in zip(starts, columns, strict=True) if names == columns[0]]
            together = [
                replace(one, rewards={n: one.rewards[n] for n in sorted(columns[0])}) for s in alike for one in s
            ]
            spec = self.spec(Run(BASE, seed, self.out), 1, len(together), keeping.UNKNOWN)
            directory = RunDir(self.out / spec.name, prompts=True)
            directory.begin(spec, keeping.manifest(read_from="the first logged step of the runs of this seed"))
            keeping.keep_end(directory, self.setup, spec, spec.run.eval_split, checkpoint_of(spec), together)
            made.append(spec)
        self.specs[:0] = made
        if not made:
            self.notes.append(
                "no base: no log reaches from the start of training on. Log every step (TRL: logging_steps=1), or give "
                "completions of the start policy: base=PATH"
            )

    def measured(self) -> str:
        """What the arms are measured by, in words."""
        if self.held_out:
            split = self.specs[0].run.eval_split
            return f"held-out prompts ({split} split)"
        if not self.lengths:
            return "all that was logged"
        wanted = sorted({k for _, k, _ in self.lengths.values()})
        steps = f"{wanted[0]}" if len(wanted) == 1 else f"{wanted[0]} to {wanted[-1]}"
        return f"training prompts, the last {steps} logged steps; base: the first"

    def require(self, named: Mapping[str, str]) -> None:
        """Raise UsageError for a column (option -> it) that no row of any arm has."""
        for option, column in named.items():
            lost = [
                sum(n for what, n in counts.items() if what.endswith(f" {column}")) for counts in self.without.values()
            ]
            if lost and sum(lost) == sum(self.rows.values()):
                raise UsageError(
                    f"--{option} {column}: no row of any arm has such a value. {nearest(column, self.seen)}"
                )

    def told(self) -> list[str]:
        """What was assumed and left out, arm by arm."""
        ends = sorted({last for *_, last in self.lengths.values()})
        unlike = [f"runs differ in length (last steps {ends[0]} to {ends[-1]}), so onsets are not of equal chance"
                  for _ in ends[1:2]]  # fmt: skip
        lacking = [f"{arm}: {self._lacking(arm)}" for arm, counts in self.without.items() if counts]
        return [*self.notes, *unlike, *lacking]

    def _lacking(self, arm: str) -> str:
        counts = self.without.get(arm, Counter())
        return "; ".join(f"{n} of {self.rows[arm]} rows lack {what}" for what, n in counts.items()) or "it has none"


def ending(logged: int, last: int | None = None) -> int:
    """How many steps a run with so many logged ones is measured by; ``last``: as many as that, if it has them."""
    if last is not None:
        return min(last, logged)
    return max(1, min(max(LEAST, math.ceil(SHARE * logged)), logged // 2))


def _of_arm(scored: Scored, arm: str) -> Scored:
    """The same with its arm in its name, as several arms' first steps stand together."""
    rollout = scored.rollout
    return replace(scored, rollout=replace(rollout, id=f"{rollout.slot}/{arm}-{rollout.id.rpartition('/')[2]}"))


def _splits(setup: Setup, run: Path) -> list[Split]:
    return list(dict.fromkeys(["train", read_spec(run).run.eval_split]))


def _name(run: Run) -> str:
    return f"{run.arm}-s{run.seed}"


def _has(log: Log, column: str) -> bool:
    return any(column in row.numbers for row in log.rows)
