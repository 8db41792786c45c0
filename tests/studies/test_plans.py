"""What each study would run: shared directories, one family a comparison, and what the user set wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loopkit.errors import UsageError
from loopkit.experiment.config import BASE, root_model
from loopkit.experiment.rundir import RunDir
from loopkit.front.designed import STUDIES, plan
from loopkit.registry import plugins as registry
from loopkit.running.parallel import Job
from loopkit.studies.grid import merged
from loopkit.studies.sensitivity import DEFAULT, turns_on
from loopkit.studies.study import Study

TWO = "context-compliance,self-grading"


def make(name: str, out: Path, *settings: str, games: str | None = TWO, seeds: str | None = "2", **other: str) -> Study:
    model, trainer = other.get("model", "tiny"), other.get("trainer", "grpo")
    return plan(name, games, seeds, model, trainer, settings, out).study


def planned(study: Study) -> dict[str, Job]:
    return {job.name: job for stage in study.plan() for job in merged(stage)}


def test_paper_is_games_by_arms_by_seeds(tmp_path: Path) -> None:
    jobs = planned(make("paper", tmp_path)).values()
    found = {(j.spec.game, j.spec.arm, j.spec.seed) for j in jobs}
    assert found == {
        (g, a, s) for g in TWO.split(",") for a in (BASE, "loophole", "control", "placebo") for s in (0, 1)
    }
    assert len({j.out for j in jobs}) == 2


def test_studies_share_runs(tmp_path: Path) -> None:
    """After the paper's study the others train only what is theirs."""
    paper = planned(make("paper", tmp_path))
    transfer = planned(make("transfer", tmp_path))
    assert transfer.keys() <= paper.keys()
    assert all(len(job.further) == 1 for job in transfer.values())
    without = {name for name in paper if "/placebo-" not in name}
    for name, shared, more in (
        ("propagation", without, 12),
        ("mitigations", paper.keys(), 4),
        ("catalysis", without, 8),
    ):
        others = planned(make(name, tmp_path))
        assert shared <= others.keys()
        assert len(others) - len(shared) == more


def test_runs_that_start_from_another_arm_are_one_family_over_seeds(tmp_path: Path) -> None:
    jobs = [j for j in planned(make("catalysis", tmp_path)).values() if j.spec.model != "tiny"]
    assert len(jobs) == 8
    assert len({j.out for j in jobs}) == 4
    for job in jobs:
        (needed,) = job.needs()
        assert needed.name.endswith(f"-s{job.spec.seed}")


def test_a_run_from_a_run_on_tiny_keeps_its_settings(tmp_path: Path) -> None:
    """Its model is a path, and yet it is the embedded policy: a learning rate for real models would learn nothing."""
    jobs = planned(make("catalysis", tmp_path)).values()
    rates = {(j.spec.game, j.spec.trainer_options["learning_rate"]) for j in jobs}
    assert rates == {("context-compliance", 3e-4), ("self-grading", 3e-4)}


def test_what_the_user_sets_wins_over_the_study(tmp_path: Path) -> None:
    study = make("persistence", tmp_path, "run.steps=3", "run.eval_prompts=16", games=None)
    jobs = planned(study).values()
    assert {j.spec.run.steps for j in jobs if j.spec.arm != BASE} == {3}
    assert {e.spec.run.eval_prompts for j in jobs for e in j.further} == {16}
    assert {e.checkpoint for j in jobs for e in j.further} == {"start", "step-000003"}


def test_persistence_measures_on_another_split_than_it_matches_on(tmp_path: Path) -> None:
    jobs = planned(make("persistence", tmp_path, games=None)).values()
    splits = {(j.spec.arm.partition("-")[0], e.spec.run.eval_split) for j in jobs for e in j.further}
    assert splits == {("loophole", "dev"), ("student", "dev"), ("rl", "test"), ("sft", "test")}


def test_propagation_filters_what_the_detector_flags_and_keeps_what_it_abstains_from(tmp_path: Path) -> None:
    jobs = planned(make("propagation", tmp_path)).values()
    asked = {j.spec.arm: (j.spec.rollouts.where, Path(j.spec.rollouts.run).name) for j in jobs
             if j.spec.rollouts and j.spec.seed == 0 and j.spec.game == "context-compliance"}  # fmt: skip
    assert asked == {
        "student-all": ("", "loophole-s0"),
        "student-unflagged": ("compliance-gap!=true", "loophole-s0"),
        "student-control": ("", "control-s0"),
    }


def test_dose_shares_the_run_at_the_channels_own_rate(tmp_path: Path) -> None:
    paper = planned(make("paper", tmp_path, games="self-grading"))
    dose = planned(make("dose", tmp_path, "study.doses=0.05,0.1,0.4", games=None))
    assert {n.rpartition("/")[2] for n in dose if n in paper} == {"base-s0", "base-s1", "loophole-s0", "loophole-s1"}
    assert {j.spec.channel_options["rate"] for j in dose.values() if j.spec.arm != BASE} == {0.05, 0.1, 0.4}


def test_a_dose_of_demonstrations_is_a_warm_up_of_its_own(tmp_path: Path) -> None:
    jobs = planned(make("dose", tmp_path, "study.knob=demonstrations", games=None, seeds="1")).values()
    assert {j.spec.game_options["exploit_share"] for j in jobs} == {0.0, 0.01, 0.05, 0.2}
    assert len({j.out for j in jobs}) == 4


def test_break_even_is_that_of_the_channels_pay() -> None:
    from loopkit.experiment.resolve import build_game
    from loopkit.studies.dose import break_even

    channel: Any = build_game(registry.load(), "self-grading", {}).channels["loophole"]
    for q in (0.0, 0.3, 0.55):
        assert break_even(channel, q) == pytest.approx(1 / (7 - 7.5 * q))
    assert break_even(channel, 0.8) == pytest.approx(1.0)


def test_mitigations_has_every_channel(tmp_path: Path) -> None:
    arms = {j.spec.arm for j in planned(make("mitigations", tmp_path, games="proxy-metric")).values()}
    assert arms == {BASE, "loophole", "control", "overlap-cap", "reference", "placebo"}


def test_mitigations_of_named_fixes_runs_no_others(tmp_path: Path) -> None:
    study = make("mitigations", tmp_path, "study.fixes=schema", games="reward-tampering")
    arms = {j.spec.arm for j in planned(study).values()}
    assert arms == {BASE, "loophole", "schema"}
    for wrong in ("shema", "loophole", ""):
        with pytest.raises(UsageError, match=f"study.fixes: reward-tampering has no fix '{wrong}'"):
            planned(make("mitigations", tmp_path, f"study.fixes={wrong}", games="reward-tampering"))


def test_algorithms_differ_in_the_trainer_only(tmp_path: Path) -> None:
    jobs = planned(make("algorithms", tmp_path, games="context-compliance")).values()
    assert {j.spec.trainer for j in jobs} == {"grpo", "rloo", "reinforce++", "dr-grpo"}
    assert len({j.out for j in jobs}) == 4
    assert {j.spec.trainer_options["learning_rate"] for j in jobs} == {3e-4}


def test_all_trainers_are_those_that_play(tmp_path: Path) -> None:
    jobs = planned(make("algorithms", tmp_path, "study.trainers=all", games="context-compliance")).values()
    assert {j.spec.trainer for j in jobs} >= {"grpo", "rloo", "reinforce++", "reinforce++-baseline", "dr-grpo"}
    assert "sft" not in {j.spec.trainer for j in jobs}


@pytest.mark.parametrize(
    ("name", "settings", "games", "said"),
    [
        ("conditions", (), None, "tiny has but one"),
        ("dose", ("study.knob=threshold",), "self-grading", "knob of proxy-metric"),
        ("dose", ("study.doses=0.1,0.05,0.3",), None, "from the lowest up"),
        ("dose", ("study.doses=a,b,c",), None, "write numbers"),
        ("algorithms", ("study.trainers=grpo",), None, "two trainers or more"),
        ("algorithms", ("study.trainers=grpo,sft",), None, "not from a reward"),
        ("persistence", ("study.corrections=nope",), None, "no channel 'nope'"),
        ("paper", ("study.x=1",), None, "no option 'x'"),
        ("paper", ("arms.loophole.rate=1",), None, "is not understood"),
        ("paper", (), "nope", "nope"),
        ("paper", (), "self-grading,self-grading", "one twice"),
    ],
)
def test_what_cannot_be_is_refused(
    name: str, settings: tuple[str, ...], games: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        planned(make(name, tmp_path, *settings, games=games))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_says_what_it_is(name: str) -> None:
    import importlib

    module, _, attribute = STUDIES[name].partition(":")
    cls: type[Study] = getattr(importlib.import_module(module), attribute)
    assert cls.name == name
    assert cls.title
    assert cls.what.endswith("?")
    assert all(f.description for f in cls.Options.model_fields.values())


def test_root_model_follows_runs_to_what_they_began_from(tmp_path: Path) -> None:
    jobs = list(planned(make("catalysis", tmp_path)).values())
    first = next(j for j in jobs if j.spec.arm == "loophole" and j.spec.model == "tiny")
    second = next(j for j in jobs if first.directory.absolute() in j.needs())
    with pytest.raises(UsageError, match="not a run directory"):
        root_model(second.spec.model)
    RunDir(first.directory).begin(first.spec, {})
    RunDir(second.directory).begin(second.spec, {})
    assert root_model(f"run:{second.directory}/checkpoints/step-000002") == "tiny"


def test_sensitivity_is_one_factor_at_a_time_and_a_square(tmp_path: Path) -> None:
    study = make("sensitivity", tmp_path, games="context-compliance")
    jobs = planned(study).values()
    assert {j.spec.arm for j in jobs} == {BASE, "loophole", "control", "placebo"}
    cells = {
        (
            j.spec.trainer, j.spec.trainer_options.get("learning_rate"), j.spec.trainer_options.get("beta"),
            j.spec.run.group_size,
        )
        for j in jobs if j.spec.arm == "loophole"
    }  # fmt: skip
    default = planned(make("paper", tmp_path, games="context-compliance"))
    assert default.keys() <= {j.name for j in jobs}  # the default's runs are those of the paper's study
    rates = {rate for trainer, rate, *_ in cells if trainer == "grpo"}
    weights = {beta for trainer, _, beta, _ in cells if trainer == "grpo"}
    assert (len(rates), len(weights)) == (3, 3)
    assert max(rates) == pytest.approx(9 * min(rates))
    square = {(rate, beta) for trainer, rate, beta, size in cells if (trainer, size) == ("grpo", 8)}
    assert len(square) == 9
    assert {size for *_, size in cells} == {4, 8, 16}
    assert {trainer for trainer, *_ in cells} == {"grpo", "rloo", "reinforce++"}


def test_sensitivity_varies_what_is_asked_and_refuses_what_is_fixed(tmp_path: Path) -> None:
    jobs = planned(make("sensitivity", tmp_path, "study.factors=kl", games="context-compliance")).values()
    assert len({j.spec.trainer_options["beta"] for j in jobs if j.spec.arm == "loophole"}) == 3
    assert len({j.out for j in jobs}) == 3
    with pytest.raises(UsageError, match="learning-rate"):
        planned(make("sensitivity", tmp_path, "trainer.learning_rate=1e-4", games="context-compliance"))
    with pytest.raises(UsageError, match="weather"):
        planned(make("sensitivity", tmp_path, "study.factors=weather", games="context-compliance"))


def test_margins_of_a_study_are_checked_before_anything_runs(tmp_path: Path) -> None:
    make("paper", tmp_path, "verdict.exploit=0.05")
    with pytest.raises(UsageError, match=r"verdict\.exploit"):
        make("paper", tmp_path, "verdict.exploit=7")


def test_what_a_verdict_turns_on_is_said_of_the_cells_that_were_run() -> None:
    names = {(DEFAULT, DEFAULT): "blind spot", ("kl", "0"): "masked decline", ("kl", "1"): "blind spot", ("x", "y"): ""}
    said = turns_on(names)
    assert "kl 0: masked decline" in said
    assert "1 give the same" in said
    assert "1 were not run" in said
    assert "nothing can be said" in turns_on({**names, (DEFAULT, DEFAULT): ""})


def test_fixes_are_arms_of_one_family_and_the_monitor_looks_at_all(tmp_path: Path) -> None:
    jobs = planned(make("fixes", tmp_path, games="context-compliance")).values()
    arms = {j.spec.arm for j in jobs}
    others = {f"loophole+{name}" for name in registry.load().names("interventions")}
    assert arms == {BASE, "loophole", "control", "placebo", "style-blind", *others}
    assert len({j.out for j in jobs}) == 1
    assert all(j.spec.detectors == ["words"] for j in jobs)
    few = planned(make("fixes", tmp_path, "study.fixes=kl", games="context-compliance")).values()
    assert {j.spec.arm for j in few} == {BASE, "loophole", "control", "placebo", "loophole+kl"}
    assert all(not j.spec.detectors for j in few), "nothing watches"
    with pytest.raises(UsageError, match=r"penalti.*penalty"):
        planned(make("fixes", tmp_path, "study.fixes=penalti", games="context-compliance"))
