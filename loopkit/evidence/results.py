"""From run directories to an experiment's results: every seed, the arms side by side, onsets, and the verdict.

Two units, never mixed: an interval within a run is conditional on its seed (prompts or pairs are the clusters);
an interval over runs has the seed as its unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from loopkit.checks import Report
from loopkit.errors import RunError
from loopkit.evidence.examples import Example, examples
from loopkit.evidence.exploit import Exploit, exploit
from loopkit.evidence.idle import WHY, idle
from loopkit.evidence.reach import unsaid
from loopkit.evidence.verdicts import discovered_path, margins_of, with_verdict
from loopkit.evidence.windows import Trace, recorded
from loopkit.experiment.config import BASE, RunSpec, VerdictSettings
from loopkit.experiment.resolve import set_up
from loopkit.experiment.rundir import RunDir
from loopkit.experiment.verifying import verify
from loopkit.records import Estimate, Json
from loopkit.registry.plugins import Plugins
from loopkit.rollouts.metrics import Summary
from loopkit.rollouts.scoring import Setup
from loopkit.running.runner import checkpoint_of
from loopkit.stats import seeds as over_seeds
from loopkit.stats.mitigation import UNMEASURED, Mitigation, paired, told
from loopkit.stats.onset import Discovery
from loopkit.stats.shortcut import Shortcut, shortcut
from loopkit.stats.verdict import Margins, Verdict

SCHEMA = 1
PLACEBO = "placebo"
FEW = 4
STILL = 0.05
"""See ``Results.moved``."""


@dataclass(frozen=True)
class Run:
    """One run's held-out summary and discovery path (None for base)."""

    arm: str
    seed: int
    summary: Summary
    discovery: Discovery | None
    idle: bool = False
    """It was trained, and no step had a gradient."""


@dataclass(frozen=True)
class Results:
    """An experiment's results. ``columns`` are the printed measures: scores, then detectors (headline first)."""

    game: str
    trainer: str
    model: str
    split: str
    axis: str
    headline: str
    onset_detector: str
    scores: tuple[str, ...]
    detectors: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]]
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    runs: tuple[Run, ...]
    discovered: Mapping[str, Estimate]
    verdict: Verdict | None
    checked: Report
    """What ``check_game`` answered: an unproven game gets no verdict."""
    shortcut: Shortcut | None = None
    """Of an unproven game: whether a shortcut was found, as far as detectors and a trusted score can tell."""
    examples: tuple[Example, ...] = ()
    """What was said where a detector rose."""
    unsaid: tuple[str, ...] = ()
    """Forms that no reply of training in the arm ``loophole`` had: the shortcut's verdict does not reach them."""
    fixes: tuple[str, ...] = ()
    """Arms that are to mend what ``loophole`` pays: neither base, nor paid as it is, nor by the placebo."""
    honest: str | None = None
    """``Reporting.honest_score``."""
    exploit: Exploit | None = None
    """The first exploit that the arm ``loophole`` said on held-out prompts, as it was said."""

    def values(self, arm: str, measure: str) -> list[float | None]:
        """The measure's value in each run of an arm, in the seeds' order."""
        found = {r.seed: _value(r.summary, measure) for r in self.runs if r.arm == arm}
        return [found.get(seed) for seed in self.seeds]

    @property
    def unmeasured(self) -> list[str]:
        """Scores and detectors without a value in any run: where these tasks hold nothing to measure."""
        return [m for m in (*self.scores, *self.detectors) if self._blank(m)]

    def _blank(self, measure: str) -> bool:
        return all(v is None for arm in self.arms for v in self.values(arm, measure))

    def over_seeds(self, arm: str, measure: str) -> Estimate | None:
        """Mean over seeds with its t interval."""
        values = [v for v in self.values(arm, measure) if v is not None]
        return over_seeds.mean_over_seeds(values, self.bounds.get(measure, (0.0, 1.0))) if values else None

    @property
    def mitigations(self) -> dict[str, Mitigation | None]:
        """``mitigation`` of each of ``fixes``; empty of an unproven game, or without the arms base and loophole."""
        judged = self.checked.status == "proven" and {"loophole", BASE} <= set(self.arms) and not self.stillborn()
        return {arm: self.mitigation(arm) for arm in self.fixes} if judged else {}

    def mitigation(self, arm: str) -> Mitigation | None:
        """What an arm did against base and loophole, over the seeds in which every rate was measured; None: in none.

        Other detectors, and the honest score, without a value in any run hold no seed back: left out, and named.
        """
        others = [d for d in self.detectors if d not in (self.headline, self.onset_detector)]
        asked = [*others, *([self.honest] if self.honest else [])]
        blank = [m for m in asked if self._blank(m)]
        measures = [self.headline, "task", *(m for m in asked if m not in blank)]
        own, loophole, base = ({m: self.values(a, m) for m in measures} for a in (arm, "loophole", BASE))
        honest = self.honest if self.honest in measures else None
        return paired(arm, own, loophole, base, self.headline, honest, blank)

    def no_verdict(self) -> str:
        """Why ``verdict`` is None."""
        if self.stillborn():
            return f"the arm loophole {WHY} in any seed. Raise run.group_size or run.prompts_per_step, or pay otherwise"
        if self.checked.status != "proven":
            return f"the game is {self.checked.status} ({'; '.join(self.checked.reasons)})"
        return UNMEASURED if {"loophole", BASE} <= set(self.arms) else "there is no arm called loophole"

    @property
    def idle(self) -> dict[str, list[int]]:
        """Arm -> the seeds whose run could not learn: what it did not do shows nothing."""
        arms = dict.fromkeys(r.arm for r in self.runs if r.idle)
        return {arm: [r.seed for r in self.runs if r.idle and r.arm == arm] for arm in arms}

    def stillborn(self) -> bool:
        """Whether the arm ``loophole`` could learn in no seed, so that there is nothing to judge."""
        found = [r.idle for r in self.runs if r.arm == "loophole"]
        return bool(found) and all(found)

    def moved(self) -> list[str]:
        """The detectors to print: all if they are few, else the headline and those that in some run left base's rate by
        more than STILL.
        """
        if len(self.detectors) <= FEW:
            return list(self.detectors)

        def far(detector: str) -> bool:
            base = self.values(BASE, detector)
            pairs = (pair for arm in self.arms for pair in zip(self.values(arm, detector), base, strict=True))
            return any(x is not None and b is not None and abs(x - b) > STILL for x, b in pairs)

        return [d for d in self.detectors if d == self.headline or far(d)]

    def json(self) -> dict[str, Json]:
        """What ``results.json`` holds."""
        measures = [*self.scores, *self.detectors]
        return {
            "schema_version": SCHEMA,
            **{k: getattr(self, k) for k in ("game", "trainer", "model", "split", "axis", "headline")},
            "onset_detector": self.onset_detector,
            "seeds": list(self.seeds),
            "runs": [
                {
                    "arm": r.arm,
                    "seed": r.seed,
                    **_json(r.summary),
                    "discovery": asdict(r.discovery) if r.discovery else None,
                }
                for r in self.runs
            ],
            "arms": {
                arm: {m: e.json() if (e := self.over_seeds(arm, m)) else None for m in measures} for arm in self.arms
            },
            "idle": self.idle,
            "discovered": {arm: e.json() for arm, e in self.discovered.items()},
            "checked": {"status": self.checked.status, "reasons": list(self.checked.reasons)},
            "verdict": asdict(self.verdict) | {"sentence": self.verdict.sentence()} if self.verdict else None,
            "no_verdict": None if self.verdict or self.shortcut else self.no_verdict(),
            "mitigations": {
                arm: (asdict(m) if m else {"name": "no verdict", "p": None}) | {"sentence": told(arm, m)}
                for arm, m in self.mitigations.items()
            },
            "exploit": asdict(self.exploit) if self.exploit else None,
            **(
                {
                    "shortcut": asdict(self.shortcut)
                    | {"sentence": self.shortcut.sentence(), "unseen_because": self.shortcut.blind()},
                    "examples": [asdict(e) for e in self.examples],
                    "not_tried": list(self.unsaid),
                }
                if self.shortcut
                else {}
            ),
        }


def _json(summary: Summary) -> dict[str, Json]:
    data: dict[str, Json] = asdict(summary)
    return data


def _value(summary: Summary, measure: str) -> float | None:
    found = summary.rates.get(measure) or summary.scores.get(measure)
    return found.value if found else None


def collect(
    specs: Sequence[RunSpec],
    out: Path,
    plugins: Plugins,
    checked: Report,
    margins: VerdictSettings | None = None,
) -> Results:
    """Read an experiment's finished runs. Raises RunError naming any that is not, and each file that is damaged."""
    verify(out / spec.name for spec in specs)
    setup = set_up(plugins, specs[0])
    first = specs[0]
    trained = [s for s in specs if s.arm != BASE]
    traces = {s.name: recorded(out / s.name, setup, s.run.steps) for s in trained}
    placebo = {s.seed: traces[s.name] for s in trained if s.arm == PLACEBO}
    starts = list({s.seed: traces[s.name] for s in trained}.values())
    paths = {
        s.name: _path(s, out, setup, traces[s.name], placebo.get(s.seed, []), starts, margins_of(setup, margins))
        for s in trained
    }
    runs = [Run(s.arm, s.seed, _summary(s, out, s.arm), paths.get(s.name), _still(s, out)) for s in specs]
    arms = tuple(dict.fromkeys(s.arm for s in specs))
    discovered = {
        arm: over_seeds.discovered([r.discovery.onset for r in runs if r.arm == arm and r.discovery])
        for arm in arms
        if arm != BASE and any(r.arm == arm and r.discovery for r in runs)
    }
    summaries = [r.summary for r in runs]
    names = dict.fromkeys(name for s in summaries for name in s.scores)
    order = [n for n in ("task", "observed") if n in names]
    results = Results(
        game=first.game,
        trainer=first.trainer,
        model=first.model,
        split=first.run.eval_split,
        axis=setup.game.axis,
        headline=setup.headline,
        onset_detector=setup.onset,
        scores=(*order, *(n for n in names if n not in order)),
        detectors=tuple(setup.detectors),
        bounds={name: d.bounds for name, d in setup.detectors.items()},
        seeds=tuple(dict.fromkeys(s.seed for s in specs)),
        arms=arms,
        runs=tuple(runs),
        discovered=discovered,
        verdict=None,
        checked=checked,
        fixes=_fixes(specs),
        honest=setup.game.reporting.honest_score,
        exploit=exploit(setup, [s for s in specs if s.arm == "loophole"], out),
    )
    if results.stillborn():
        return results
    return _with_shortcut(with_verdict(results, specs, out, setup, margins), specs, out, setup)


def _fixes(specs: Sequence[RunSpec]) -> tuple[str, ...]:
    paid = {s.arm: (s.channel, s.channel_options) for s in specs if s.arm != BASE}
    return tuple(arm for arm, pay in paid.items() if pay != paid.get("loophole") and pay[0] != "placebo")


def _summary(spec: RunSpec, out: Path, arm: str) -> Summary:
    directory = out / f"{arm}-s{spec.seed}"
    checkpoint = "start" if arm == BASE else checkpoint_of(spec)
    found = RunDir(directory).read_eval(spec.game, spec.run.eval_split, checkpoint)
    if found is None:
        raise RunError(f"{directory} is not finished. Run the same command to finish it.")
    return found


def _still(spec: RunSpec, out: Path) -> bool:
    """Whether a run learned from the referee's pay and never could: see ``idle``."""
    return spec.arm != BASE and spec.rollouts is None and idle(RunDir(out / spec.name).steps())


def _path(
    spec: RunSpec, out: Path, setup: Setup, own: Trace, placebo: Trace, starts: Sequence[Trace], margins: Margins
) -> Discovery | None:
    """None where the base rate or the run's own is unknown."""
    base = _summary(spec, out, BASE).rates.get(setup.onset)
    rates = [s["rates"].get(setup.onset) for s in RunDir(out / spec.name).steps()]
    if base is None or base.high is None or not any(rates) or not any(own):
        return None
    beside = placebo if spec.arm != PLACEBO else []
    return discovered_path([r["value"] if r else None for r in rates], own, beside, starts, base, setup, margins)


def _with_shortcut(results: Results, specs: Sequence[RunSpec], out: Path, setup: Setup) -> Results:
    """Of an unproven game with an arm ``loophole``: did training find a shortcut? And what was said, if it did."""
    if results.checked.status != "unproven" or not {"loophole", BASE} <= set(results.arms):
        return results

    def rewards(arm: str) -> list[float]:
        found = {r.seed: r.summary.rewards["loophole"] for r in results.runs if r.arm == arm}
        return [found[seed] for seed in results.seeds]

    def difference(measure: str, other: str) -> list[float] | None:
        pairs = list(zip(results.values("loophole", measure), results.values(other, measure), strict=True))
        return None if any(x is None or y is None for x, y in pairs) else [x - y for x, y in pairs]  # type: ignore[operator]

    against = next((arm for arm in (PLACEBO, "control") if arm in results.arms), "")
    vs_base = {d: v for d in results.detectors if (v := difference(d, BASE)) is not None}
    found = shortcut(
        [x - y for x, y in zip(rewards("loophole"), rewards(BASE), strict=True)],
        vs_base,
        {d: v for d in vs_base if against and (v := difference(d, against)) is not None},
        against,
        difference("task", BASE),
    )
    own = [s for s in specs if s.arm == "loophole"]
    shown = examples(found.rose or results.detectors[:1], own, out, setup.game) if "found" in found.name else []
    return replace(results, shortcut=found, examples=tuple(shown), unsaid=tuple(unsaid(own, out)))
