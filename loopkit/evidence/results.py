"""From run directories to an experiment's results: every seed, the arms side by side, onsets, and the verdict.

Two units, never mixed: an interval within a run is conditional on its seed (prompts or pairs are the clusters);
an interval over runs has the seed as its unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from loopkit.checks import Report
from loopkit.errors import RunError
from loopkit.evidence import verdicts
from loopkit.evidence.claims import OnFix, OnLoophole, OnReward
from loopkit.evidence.examples import examples
from loopkit.evidence.exploit import exploit
from loopkit.evidence.fixes import intervening
from loopkit.evidence.idle import idle
from loopkit.evidence.onsets import Beside, path_beside, rates_of
from loopkit.evidence.reach import unsaid
from loopkit.evidence.schema import Checked, ExperimentResults, Run
from loopkit.evidence.verdicts import PLACEBO, margins_of, record
from loopkit.evidence.windows import recorded
from loopkit.experiment.arms import built
from loopkit.experiment.config import BASE, RunSpec, VerdictSettings
from loopkit.experiment.rundir import RunDir, checkpoint_of
from loopkit.experiment.verifying import verify
from loopkit.records import Estimate, Json
from loopkit.registry import plugins as registry
from loopkit.rollouts.metrics import Summary
from loopkit.rollouts.scoring import Setup
from loopkit.stats import seeds as over_seeds
from loopkit.stats.mitigation import told
from loopkit.stats.onset import Discovery
from loopkit.stats.verdict import Margins

Steps = Mapping[str, Sequence[Mapping[str, Json]]]
"""Run -> the lines of its ``steps.jsonl``."""


def collect(
    specs: Sequence[RunSpec],
    out: Path,
    setup: Setup,
    checked: Report,
    margins: VerdictSettings | None = None,
) -> ExperimentResults:
    """Read an experiment's finished runs. Raises RunError naming any that is not, and each file that is damaged.

    ``setup``: what the first run names; ``checked``: what ``check_game`` answered; ``margins``: the user's.
    """
    verify(out / spec.name for spec in specs)
    results = _measured(specs, out, setup, checked, margins)
    loophole = [s for s in specs if s.arm == "loophole"]
    verdict = verdicts.on_loophole(results, specs, out, setup, margins)
    parts = {s.arm: built(registry.load(), s) for s in specs}
    beside = intervening(results, specs, out, parts) if verdicts.comparable(results) else {}
    fixes = verdicts.on_fixes(results, _fixes(specs), setup.game.reporting.honest_score, beside)
    shortcut = verdicts.on_reward(results)
    rose = shortcut is not None and "found" in shortcut.name
    return results.model_copy(
        update={
            "exploit": exploit(setup, loophole, out),
            "verdict": record(verdict, OnLoophole) if verdict else None,
            "no_verdict": None if verdict or shortcut else verdicts.none_because(results),
            "mitigations": {
                arm: record(fix, OnFix) if fix else OnFix(arm=arm, name="no verdict", sentence=told(arm, None))
                for arm, fix in fixes.items()
            },
            "shortcut": record(shortcut, OnReward, unseen_because=shortcut.blind()) if shortcut else None,
            "examples": tuple(examples(shortcut.rose or results.detectors[:1], loophole, out, setup.game))
            if shortcut and rose
            else (),
            "not_tried": tuple(unsaid(loophole, out)) if shortcut else (),
        }
    )


def _measured(
    specs: Sequence[RunSpec], out: Path, setup: Setup, checked: Report, margins: VerdictSettings | None
) -> ExperimentResults:
    """Results before anything is claimed."""
    first = specs[0]
    steps = {s.name: RunDir(out / s.name).steps() for s in specs if s.arm != BASE}
    summaries = {s.name: _summary(s, out) for s in specs}
    paths = _paths(specs, out, setup, margins_of(setup, margins), steps, summaries)
    runs = tuple(Run(arm=s.arm, seed=s.seed, discovery=paths.get(s.name), **_fields(summaries[s.name])) for s in specs)
    arms = dict.fromkeys(s.arm for s in specs)
    onsets = {arm: [r.discovery.onset for r in runs if r.arm == arm and r.discovery] for arm in arms if arm != BASE}
    still = [s for s in specs if s.arm != BASE and s.rollouts is None and idle(steps[s.name])]
    bounds = {name: detector.bounds for name, detector in setup.detectors.items()}
    measures = dict.fromkeys(m for run in runs for m in (*run.scores, *run.rates))
    return ExperimentResults(
        game=first.game,
        trainer=first.trainer,
        model=first.model,
        split=first.run.eval_split,
        axis=setup.game.axis,
        headline=setup.headline,
        onset_detector=setup.onset,
        seeds=tuple(dict.fromkeys(s.seed for s in specs)),
        runs=runs,
        arms={arm: {m: _mean([r for r in runs if r.arm == arm], m, bounds) for m in measures} for arm in arms},
        bounds=bounds,
        discovered={
            arm: over_seeds.discovered(steps_of_onset) for arm, steps_of_onset in onsets.items() if steps_of_onset
        },
        idle={arm: tuple(s.seed for s in still if s.arm == arm) for arm in dict.fromkeys(s.arm for s in still)},
        checked=Checked(status=checked.status, reasons=tuple(checked.reasons)),
        verdict=None,
    )


def _paths(
    specs: Sequence[RunSpec],
    out: Path,
    setup: Setup,
    margins: Margins,
    steps: Steps,
    summaries: Mapping[str, Summary],
) -> dict[str, Discovery | None]:
    """Each trained run's path to the exploit."""
    trained = [s for s in specs if s.arm != BASE]
    traces = {s.name: recorded(out / s.name, setup, s.run.steps) for s in trained}
    placebo = {s.seed: traces[s.name] for s in trained if s.arm == PLACEBO}
    starts = list({s.seed: traces[s.name] for s in trained}.values())
    bases = {s.seed: summaries[s.name].rates.get(setup.onset) for s in specs if s.arm == BASE}
    return {
        s.name: path_beside(
            rates_of(steps[s.name], setup.onset),
            bases.get(s.seed),
            Beside(traces[s.name], placebo.get(s.seed, []) if s.arm != PLACEBO else [], starts, setup, margins),
        )
        for s in trained
    }


def _mean(runs: Iterable[Run], measure: str, bounds: Mapping[str, tuple[float, float]]) -> Estimate | None:
    values = [estimate.value for run in runs if (estimate := run.of(measure)) is not None]
    return over_seeds.mean_over_seeds(values, bounds.get(measure, (0.0, 1.0))) if values else None


def _fields(summary: Summary) -> dict[str, Json]:
    return asdict(summary)


def _fixes(specs: Sequence[RunSpec]) -> list[str]:
    """Arms that are to mend what ``loophole`` pays: neither base, nor paid as it is and nothing done besides, nor by
    the placebo."""
    paid = {s.arm: (s.channel, s.channel_options, s.interventions) for s in specs if s.arm != BASE}
    return [arm for arm, pay in paid.items() if pay != paid.get("loophole") and pay[0] != PLACEBO]


def _summary(spec: RunSpec, out: Path) -> Summary:
    """A finished run's held-out evaluation."""
    summary = RunDir(out / spec.name).read_eval(spec.game, spec.run.eval_split, checkpoint_of(spec))
    if summary is None:
        raise RunError(f"{out / spec.name} is not finished. Run the same command to finish it.")
    return summary
