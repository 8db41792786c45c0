"""What interventions show besides rates, from runs made by hand; Holm over the fixes of a game. 4 s of CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopkit.evidence.claims import OnFix
from loopkit.evidence.fixes import Intervening, intervening
from loopkit.evidence.schema import Checked, ExperimentResults, Run
from loopkit.experiment.arms import built
from loopkit.experiment.config import Experiment, RunSpec
from loopkit.experiment.resolve import resolve
from loopkit.experiment.rundir import RunDir, checkpoint_of
from loopkit.experiment.shards import write_shard
from loopkit.records import Estimate
from loopkit.registry import plugins
from loopkit.rollouts.metrics import Summary
from loopkit.running.runner import INSTRUCTED, NEUTRAL
from loopkit.studies.fixes import UNSHOWN, _in_family

HEADLINE = "false-claim"


def specs(*arms: str) -> list[RunSpec]:
    asked = Experiment(game="self-grading", seeds="2", arms={arm: {} for arm in arms})
    return [spec for spec in resolve(asked, plugins.load()) if spec.arm != "base"]


def found(made: list[RunSpec], out: Path) -> dict[str, Intervening]:
    runs = tuple(
        Run(arm=s.arm, seed=s.seed, n=4, scores={}, rates={}, rewards={}, discovery=None) for s in made
    )  # fmt: skip
    base = tuple(
        Run(arm="base", seed=seed, n=4, scores={}, rates={HEADLINE: rate(0.1)}, rewards={}, discovery=None)
        for seed in (0, 1)
    )
    results = ExperimentResults(
        game="self-grading", trainer="grpo", model="tiny", split="test", axis="specification", headline=HEADLINE,
        onset_detector=HEADLINE, seeds=(0, 1), runs=(*base, *runs), arms={}, discovered={},
        checked=Checked(status="proven"), verdict=None,
    )  # fmt: skip
    return intervening(results, made, out, {s.arm: built(plugins.load(), s) for s in made})


def test_what_a_monitor_does_not_see_is_counted_of_what_is_judged(tmp_path: Path) -> None:
    made = specs("loophole", "loophole+penalty")
    rows = {"loophole": [(True, True), (True, True), (True, False), (None, False)],
            "loophole+penalty": [(True, False), (True, None), (False, False), (False, True)]}  # fmt: skip
    for spec in made:
        folder = RunDir(tmp_path / spec.name).eval_dir(spec.game, "test", checkpoint_of(spec))
        flags = [{f"flag.{HEADLINE}": a, "flag.words": b} for a, b in rows[spec.arm]]
        write_shard(folder / "scores.parquet", [*flags, {f"flag.{HEADLINE}": None, "flag.words": False}])
    beside = found(made, tmp_path)
    assert beside.keys() == {"loophole+penalty"}
    one = beside["loophole+penalty"]
    assert one.monitors == ("words",)
    assert one.unseen == {"loophole": [pytest.approx(1 / 3)] * 2, "loophole+penalty": [0.5, 0.5]}
    assert one.inapplicable == ""


def rate(value: float) -> Estimate:
    return Estimate(value, max(0.0, value - 0.02), min(1.0, value + 0.02), 2000, 2000, "by hand")


@pytest.mark.parametrize(
    ("told", "neutral", "follows"),
    [
        ((0.3, 0.3), (0.1, 0.1), True),
        ((0.3, 0.3), (0.3, 0.29), False),  # any added words raise it
        ((0.13, 0.13), (0.1, 0.1), False),
        ((0.5, 0.11), (0.1, 0.1), False),  # in one seed no more than chance
        ((0.05, 0.05), (0.3, 0.3), False),
        ((0.12, 0.12), (0.0, 0.0), False),  # any added words lower it, and these less
    ],
)
def test_an_instruction_counts_where_the_start_policy_follows_it(
    tmp_path: Path, told: tuple[float, float], neutral: tuple[float, float], follows: bool
) -> None:
    made = specs("loophole", "loophole+inoculation")
    for spec in (s for s in made if s.interventions):
        for name, rates in ((INSTRUCTED, told), (NEUTRAL, neutral)):
            summary = Summary(2000, {}, {HEADLINE: rate(rates[spec.seed])}, {})
            RunDir(tmp_path / spec.name).write_eval(spec.game, "test", name, [], summary)
    why = found(made, tmp_path)["loophole+inoculation"].inapplicable
    assert (why == "") == follows, why
    assert follows or "does not follow" in why


def test_one_that_was_not_measured_claims_nothing(tmp_path: Path) -> None:
    assert "lacks" in found(specs("loophole", "loophole+inoculation"), tmp_path)["loophole+inoculation"].inapplicable


def test_a_claim_is_made_in_the_family_of_all_fixes() -> None:
    claims = {
        name: OnFix(arm=name, name=word, p=p, sentence=f"{name}.", seeds=8, descriptive=False)
        for name, word, p in (("a", "closes", 0.004), ("b", "reduces", 0.03), ("c", "inconclusive", None),
                              ("d", "not applicable", None))
    }  # fmt: skip
    rows = {name: _in_family("g", name, claim, claims) for name, claim in claims.items()}
    assert (rows["a"].name, rows["a"].p) == ("closes", pytest.approx(0.012))
    assert (rows["b"].name, rows["b"].p) == (UNSHOWN, pytest.approx(0.06))
    assert "'reduces'" in rows["b"].sentence
    assert (rows["c"].name, rows["c"].p, rows["d"].name) == ("inconclusive", None, "not applicable")
