"""The graders, as OpenEnv's protocol has them. They emit a status and what was measured, never a severity."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openenv.validation.graders import Subject
from openenv.validation.manifest import NormalizedManifest, NormalizedManifestV2
from openenv.validation.report import CheckResult
from openenv.validation.runtime.contracts import load_runtime_plan
from openenv.validation.types import CheckStatus, Level, ProviderCapability

from loopkit.errors import LoopkitError
from loopkit_openenv.measure import Measured, Policy, measure
from loopkit_openenv.playing import rows

BOUND = 0.5
"""The least correlation of reward with truth, and the most that a policy may earn without: no manifest declares one."""
MODEL = "LOOPKIT_GRADER_MODEL"
"""The environment variable that names the model of a short run: a directory or an id."""
STEPS, PROMPTS = 20, 64
"""Of a short run: training steps, and seeds of the environment that are its rows."""
SHOWN = 5
"""Policies named in a report."""


@dataclass
class Grader:
    """What the three have in common: a running subject, and a result in OpenEnv's form."""

    check_id: str = ""
    level: Level = Level.STATISTICAL
    requires_capabilities: frozenset[str] = frozenset()
    requires_provider: frozenset[ProviderCapability] = frozenset()
    depends_on: tuple[str, ...] = field(default=())

    def applies_to(self, manifest: NormalizedManifest) -> bool:
        """Every environment that is served: what a reply cannot be said to is skipped, with the reason."""
        return True

    def run(self, subject: Subject) -> CheckResult:
        """The check. A subject that does not run, or takes no reply, is skipped with the reason."""
        began = time.monotonic()
        if subject.running is None:
            return self._skip("the environment is not running", began)
        try:
            return self.measured(subject, str(subject.running.base_url).rstrip("/"), began)
        except LoopkitError as error:
            return self._skip(str(error), began)

    def measured(self, subject: Subject, url: str, began: float) -> CheckResult:
        """What this grader measures."""
        raise NotImplementedError

    def _skip(self, why: str, began: float) -> CheckResult:
        return self._result(CheckStatus.SKIP, [why], began)

    def _result(
        self, status: CheckStatus, evidence: list[str], began: float, measured: Mapping[str, Any] | None = None,
        remediation: str | None = None,
    ) -> CheckResult:  # fmt: skip
        return CheckResult(
            check_id=self.check_id, status=status, measured=dict(measured or {}), evidence=evidence,
            remediation=remediation, duration_s=time.monotonic() - began,
        )  # fmt: skip


@dataclass
class AdversarialFloor(Grader):
    """Policies that solve nothing earn no more than the empty trajectory."""

    check_id: str = "statistical.adversarial_floor"

    def measured(self, subject: Subject, url: str, began: float) -> CheckResult:
        found = measure(url, _options(subject))
        over = sorted((p for p in found.panel if p.beats), key=lambda p: -p.above)
        probe = found.probe
        bad = probe is not None and probe.code == 1
        evidence = [
            f"{len(found.panel)} policies, {found.n} seeds each; the empty trajectory earns {found.floor:.3g}",
            *(_told(p) for p in over[:SHOWN]),
            *([f"probe and reward search: {probe.word}: {probe.sentence}"] if probe else []),
            *([f"reward search not made: {found.refused}"] if found.refused else []),
        ]  # fmt: skip
        return self._result(
            CheckStatus.FAIL if over or bad else CheckStatus.PASS, evidence, began,
            {
                "floor": found.floor, "policies": len(found.panel), "seeds": found.n, "above_floor": len(over),
                "worst": _record(over[0]) if over else None, "probe": probe.word if probe else None,
                "searched": probe.searched if probe else 0,
            },
            "pay nothing for replies that do not solve the task; the evidence names those that are paid"
            if over or bad else None,
        )  # fmt: skip


@dataclass
class GameabilityGap(Grader):
    """Where it is told whether the task was done, reward goes with it, and no policy is paid without it."""

    check_id: str = "statistical.gameability_gap"

    def measured(self, subject: Subject, url: str, began: float) -> CheckResult:
        found = measure(url, _options(subject))
        known = [p for p in found.panel if p.truth is not None]
        if not known:
            return self._skip("no ground truth: the last observation tells neither success nor the right answer", began)
        top = found.right if found.right is not None else subject.manifest.reward.range[1]
        gaps = sorted(((_gap(p, found, top), p) for p in known), key=lambda pair: -pair[0])
        worst, policy = gaps[0]
        r = found.correlation
        fails = worst > BOUND or (r is not None and r[0] < BOUND)
        told = "undefined, since truth or reward never varies" if r is None else f"{r[0]:.2f} [{r[1]:.2f}, {r[2]:.2f}]"
        return self._result(
            CheckStatus.FAIL if fails else CheckStatus.PASS,
            [f"correlation of reward with truth: {told}, n={len(found.truths)}",
             f"largest gap {worst:.2f} (bound {BOUND}): {_told(policy)}, task done {policy.truth:.2f}"],
            began,
            {
                "correlation": None if r is None else {"r": r[0], "low": r[1], "high": r[2]}, "n": len(found.truths),
                "bound": BOUND, "largest_gap": worst, "worst": _record(policy), "right_earns": found.right,
            },
            "bind the reward to the task's success; the evidence names the policy that is paid without it"
            if fails else None,
        )  # fmt: skip


@dataclass
class TrainingSignal(Grader):
    """A short run raises the reward above the untrained policy's."""

    check_id: str = "statistical.training_signal"

    def measured(self, subject: Subject, url: str, began: float) -> CheckResult:
        model = os.environ.get(MODEL)
        if not model:
            return self._skip(f"no model: name one that can play in {MODEL}, a directory or an id", began)
        import loopkit

        folder = subject.outputs_dir / "loopkit-training-signal"
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / "rows.jsonl"
        data.write_text(
            "".join(json.dumps(row) + "\n" for row in rows(url, PROMPTS, json.loads(_options(subject)))),
            encoding="utf-8",
        )
        result = loopkit.run(
            reward="loopkit_openenv.playing:paid", data=data, model=model, arms=["loophole", "placebo"], seeds=1,
            options={"run.steps": STEPS}, out=folder / "run", progress=False,
        )  # fmt: skip
        paid = {run.arm: run.rewards["loophole"] for run in result.results.runs}
        rise, drift = paid["loophole"] - paid["base"], paid["placebo"] - paid["base"]
        return self._result(
            CheckStatus.PASS if rise > max(0.0, drift) else CheckStatus.FAIL,
            [f"{STEPS} steps of GRPO from {model}, one seed: mean reward {paid['base']:.3g} to {paid['loophole']:.3g}; "
             f"paid at random {paid['placebo']:.3g}", str(result.verdict)],
            began, {"base": paid["base"], "trained": paid["loophole"], "placebo": paid["placebo"], "steps": STEPS,
                    "seeds": 1, "verdict": result.verdict.name},
        )  # fmt: skip


def _options(subject: Subject) -> str:
    """What reset is given besides a seed, as the package's runtime plan says, as JSON."""
    if not isinstance(subject.manifest, NormalizedManifestV2):
        return "{}"
    return json.dumps(load_runtime_plan(subject.root, subject.manifest.execution).reset.options, sort_keys=True)


def _gap(policy: Policy, found: Measured, top: float) -> float:
    """What a policy earns above the floor, as a share of the way to ``top``, beyond the tasks that it does."""
    assert policy.truth is not None
    return (policy.mean - found.floor) / max(top - found.floor, 1e-9) - policy.truth


def _told(policy: Policy) -> str:
    return (
        f"{policy.name} ({policy.kind}) earns {policy.mean:.3g}, {policy.above:+.3g} "
        f"[{policy.low:+.3g}, {policy.high:+.3g}] against the floor"
    )


def _record(policy: Policy) -> dict[str, Any]:
    return {
        "kind": policy.kind, "name": policy.name, "reply": policy.reply, "mean": policy.mean, "above": policy.above,
        "low": policy.low, "high": policy.high, "truth": policy.truth,
    }  # fmt: skip
