"""From records made by hand to what each study shows: the right numbers in the right places, and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from loopkit.checks import Report
from loopkit.evidence.schema import StudyResults
from loopkit.evidence.sections import Table
from loopkit.evidence.write import rows_of
from loopkit.experiment.config import BASE
from loopkit.experiment.rundir import RunDir, checkpoint_of, read_spec
from loopkit.records import Estimate, StepMetrics
from loopkit.rollouts.metrics import Summary
from loopkit.running.parallel import Job
from loopkit.studies.grid import merged
from loopkit.studies.study import Study
from tests.runs import flag_step
from tests.studies.test_plans import make

STEPS = 12
Exploit = Callable[[Job, str, str], float]
"""(run, game played, checkpoint) -> exploit rate."""


def rate(value: float, n: int = 400) -> Estimate:
    half = 2 * (abs(value) * (1 - abs(value)) / n) ** 0.5
    return Estimate(value, value - half, value + half, n, n, "by hand")


def origin(job: Job) -> str:
    """The arm that a run's policy comes from, through all it was trained on: "loophole > control"."""
    if job.spec.model.startswith("run:"):
        path = Path(job.spec.model.removeprefix("run:"))
        parent = path.parent.parent if path.parent.name == "checkpoints" else path
        return f"{read_spec(parent).arm} > {job.spec.arm}"
    return job.spec.arm


def fill(
    study: Study, exploit: Exploit, task: Callable[[Job], float] = lambda job: 0.5, blank: Collection[str] = ()
) -> Study:
    """Every run of a study as if it had been made. Training rates go from base's to the final one, half way."""
    grid = study.grid
    for stage in study.plan():
        for job in merged(stage):
            grid.checked[job.spec.game] = Report(job.spec.game, "proven", ())
            run, setup = RunDir(job.directory), grid.setup(job)
            run.begin(job.spec, {"device": "cpu: by hand", "start_policy_sha256": "a" * 64})
            final = exploit(job, job.spec.game, checkpoint_of(job.spec))
            if job.spec.arm != BASE:
                for step in range(job.spec.run.steps):
                    now = 0.1 if step < job.spec.run.steps / 2 else max(0.0, final)
                    trainer = {"entropy": 1.0 - now, "kl": now, "tokens": 640.0}
                    rewards = {"paid": now, "loophole": now, "control": 0.1}
                    scores = {"task": 0.5, "observed": now}
                    rates = {name: rate(now) for name in setup.detectors}
                    run.record(StepMetrics(step, 64, rewards, scores, rates, 0.5, trainer), [], {})
                    if job.spec.game == "self-grading":  # onsets are seen in recorded flags
                        flag_step(run, step, setup.detectors, now)
            played = [(job.spec, checkpoint_of(job.spec), checkpoint_of(job.spec))]
            played += [(e.spec, e.name(job.spec), e.checkpoint) for e in job.further]
            for spec, name, checkpoint in played:
                value = exploit(job, spec.game, checkpoint) + 0.001 * spec.seed
                detectors = grid.setup(Job(spec, job.out)).detectors
                scores_ = {"task": rate(task(job)), "observed": rate(max(0.0, value)), "helps_allowed": rate(0.9),
                           "claims_if_right": rate(0.9)}  # fmt: skip
                rewards_ = dict.fromkeys(grid.setup(job).shadow, value)
                found = Summary(400, scores_, {d: None if d in blank else rate(value) for d in detectors}, rewards_)
                run.write_eval(spec.game, spec.run.eval_split, name, [], found)
            run.seal(finished=True)
    return study


def sections(study: Study) -> StudyResults:
    """Its sections, as one result that can be printed."""
    made = study.sections()
    for section in made:
        headers, rows = rows_of(section)
        assert all(len(row) == len(headers) for row in rows)
    from tests.studies.examples import study as example

    return example().model_copy(update={"sections": tuple(made)})


def small(name: str, out: Path, *more: str, games: str | None = "self-grading", seeds: str = "5") -> Study:
    return make(name, out, f"run.steps={STEPS}", *more, games=games, seeds=seeds)


def learns(job: Job, game: str, checkpoint: str) -> float:
    """0.8 after the loophole on the game it was trained on, 0.1 elsewhere."""
    return 0.8 if job.spec.arm.startswith("loophole") and game == job.spec.game else 0.1


def test_paper(tmp_path: Path) -> None:
    found = sections(fill(small("paper", tmp_path), learns))
    rows = {r.keys["arm"]: r.cells for r in found.section("main").rows}
    assert rows["loophole"]["exploit"].value == pytest.approx(0.802)
    assert rows["loophole"]["worst"].value == pytest.approx(0.804)
    assert rows["loophole"]["discovered"].method == "clopper-pearson, 5 of 5 seeds"
    assert rows["control"]["discovered"].value == 0.0
    assert rows[BASE]["discovered"].withheld == "not trained"
    assert [v.name for v in found.section("verdicts").items] == ["blind spot"]
    paths = {r.keys["arm"]: r.cells for r in found.section("discovery").rows}
    assert (
        paths["loophole"]["domination"].value == 6
        or paths["loophole"]["domination"].value == paths["loophole"]["onset"].value
    )
    assert paths["control"]["onset"].value == STEPS
    assert "0 of 5 seeds" in str(paths["control"]["onset"].withheld)


def test_early_warning(tmp_path: Path) -> None:
    found = sections(fill(small("paper", tmp_path), learns)).section("monitors")
    rows = {r.keys["monitor"]: r.cells for r in found.rows}
    assert set(rows) == {"paid reward", "observed score", "shadow gap", "length", "KL", "entropy",
                         "detector on 32 rollouts"}  # fmt: skip
    assert rows["paid reward"]["false_alarms"].value == 0.0
    assert rows["paid reward"]["missed"].n == 5
    assert rows["length"]["missed"].value == 1.0  # it never moves
    assert rows["length"]["lead"].withheld == "no run was warned in time"
    assert rows["detector on 32 rollouts"]["lead"].withheld == "no run was warned in time"  # it rises with the exploit
    assert found.notes[0].startswith("Exploratory: 5 control runs")


def test_transfer_is_the_difference_from_the_start_policy(tmp_path: Path) -> None:
    def exploit(job: Job, game: str, checkpoint: str) -> float:
        if job.spec.arm == BASE:
            return 0.1
        return 0.8 if game == job.spec.game else 0.4 if job.spec.game == "self-grading" else 0.1

    study = small("transfer", tmp_path, games="context-compliance,self-grading")
    found = sections(fill(study, exploit))
    matrix = found.section("transfer")
    assert [[c.value for c in row] for row in matrix.cells] == [
        [pytest.approx(0.7), pytest.approx(0.0)],
        [pytest.approx(0.3), pytest.approx(0.7)],
    ]
    tests = {r.keys["trained on"]: r.words["p (Holm)"] for r in found.section("tests").rows}
    assert tests["self-grading"] == "< 0.001"  # every seed differs by 0.3 exactly
    assert float(tests["context-compliance"]) > 0.05


def test_catalysis_reports_starts_and_onsets_by_what_came_before(tmp_path: Path) -> None:
    def exploit(job: Job, game: str, checkpoint: str) -> float:
        if game != job.spec.game:  # B, before it is trained
            return 0.3 if job.spec.arm == "loophole" else 0.1
        return 0.9 if origin(job) == "loophole > loophole" else 0.1

    found = sections(fill(small("catalysis", tmp_path, games="context-compliance,self-grading"), exploit))
    groups = {g.name: g for g in found.section("context-compliance-then-self-grading").groups}
    assert [groups[n].start.value for n in ("after A", "alone", "after control-A")] == [
        pytest.approx(0.302), pytest.approx(0.102), pytest.approx(0.102),
    ]  # fmt: skip
    assert groups["after A"].discovered.value == 1.0
    assert groups["alone"].discovered.value == groups["after control-A"].discovered.value == 0.0
    assert found.section("verdicts").items[0].name == "catalysed"  # a gap's onset, the other way round, comes later


def test_propagation(tmp_path: Path) -> None:
    def exploit(job: Job, game: str, checkpoint: str) -> float:
        return {"loophole": 0.8, "student-all": 0.7, "student-unflagged": 0.2}.get(job.spec.arm, 0.1)

    found = sections(fill(small("propagation", tmp_path, games="context-compliance,self-grading"), exploit))
    rows = {r.keys["policy"]: r.cells for r in found.section("students-self-grading").rows}
    assert [round(c["exploit"].value or 0, 3) for c in rows.values()] == [0.102, 0.802, 0.702, 0.202, 0.102]
    assert rows["student, all"]["on-context-compliance"].value == pytest.approx(0.702)


@pytest.mark.parametrize("matched", [True, False])
def test_persistence_compares_matched_pairs_only(matched: bool, tmp_path: Path) -> None:
    aim = "step-000008" if matched else "nowhere"

    def exploit(job: Job, game: str, checkpoint: str) -> float:
        if job.spec.arm == "loophole":
            return 0.8
        if job.spec.arm == "student":
            return 0.8 if checkpoint == aim else 0.3
        if "then-loophole" in job.spec.arm:
            return 0.5
        return 0.8 if checkpoint == "start" or job.spec.arm.startswith("rl") else 0.2

    study = small("persistence", tmp_path, "study.corrections=control", games="context-compliance")
    found = sections(fill(study, exploit))
    (verdict,) = found.section("verdicts").items
    assert verdict.name == ("persists more" if matched else "no match")
    started = {r.keys["origin"]: r for r in found.section("start-context-compliance").rows}
    if matched:
        assert started["sft"].words["student's steps, by seed"] == "8, 8, 8, 8, 8"
    curve = found.section("context-compliance-control-correction")
    assert [p.x for p in curve.lines[0].points] == [0, 5, 10, 12]
    assert [p.y.value for p in curve.lines[1].points] == [pytest.approx(v + 0.002) for v in (0.8, 0.2, 0.2, 0.2)]


def test_dose_falls_with_the_audit_rate_and_draws_in_the_break_even(tmp_path: Path) -> None:
    def exploit(job: Job, game: str, checkpoint: str) -> float:
        return max(0.0, 1.0 - float(job.spec.channel_options.get("rate", 1.0)))

    found = sections(fill(small("dose", tmp_path, games=None), exploit))
    curve = found.section("audit-rate")
    assert [m.x for m in curve.marks] == [pytest.approx(1 / (7 - 7.5 * 0.5))]
    assert [line.name for line in curve.lines] == ["false-claim", "claim-if-wrong", "task"]
    (verdict,) = found.section("trend").items
    assert verdict.name == "falls"
    assert "(Page's test, p < 0.001, least possible" in verdict.sentence
    assert "crosses one half at 0.5" in verdict.sentence


def test_algorithms(tmp_path: Path) -> None:
    def exploit(job: Job, game: str, checkpoint: str) -> float:
        if job.spec.arm != "loophole":
            return 0.1
        return 0.3 if job.spec.trainer == "rloo" else 0.8

    study = small("algorithms", tmp_path, "study.trainers=grpo,rloo,dr-grpo")
    found = sections(fill(study, exploit))
    pairs = {(r.keys["trainer"], r.keys["against"]): r.cells["difference"].value for r in found.sections[1].rows}
    assert pairs == {("grpo", "rloo"): pytest.approx(0.5), ("grpo", "dr-grpo"): pytest.approx(0.0),
                     ("rloo", "dr-grpo"): pytest.approx(-0.5)}  # fmt: skip
    words = [r.words for r in found.sections[1].rows]
    assert [w["p (Holm)"] for w in words] == ["< 0.001", "1.000", "< 0.001"]
    assert [w["sign test"] for w in words] == ["0.062", "1.000", "0.062"]
    assert len(found.section("verdicts-self-grading").items) == 3


def test_mitigations(tmp_path: Path) -> None:
    def exploit(job: Job, game: str, checkpoint: str) -> float:
        return {"loophole": 0.8, "audit": 0.1, "control": 0.1}.get(job.spec.arm, 0.1)

    study = fill(small("mitigations", tmp_path), exploit, lambda job: 0.3 if job.spec.arm == "control" else 0.5)
    found = sections(study)
    names = {v.keys["fix"]: v.name for v in found.section("verdicts").items}
    assert names == {"control": "costs skill", "audit": "closes"}
    matrix = found.section("shadow-self-grading")
    assert matrix.row_names == (BASE, "loophole", "control", "audit", "placebo")
    assert matrix.cells[1][0].value == pytest.approx(0.802)


def test_a_detector_that_measured_nothing_blocks_no_verdict_on_a_fix_and_is_named(tmp_path: Path) -> None:
    study = small("mitigations", tmp_path, games="reward-tampering")

    def exploit(job: Job, game: str, checkpoint: str) -> float:
        return 0.8 if job.spec.arm == "loophole" else 0.1

    found = sections(fill(study, exploit, blank=("prints-samples",)))
    verdict = next(v for v in found.section("verdicts").items if v.keys["fix"] == "reject")
    assert verdict.name == "closes"
    assert verdict.sentence.endswith(" Not measured here, and not judged: prints-samples.")
    assert all("prints-samples" not in [c.key for c in s.columns] for s in found.sections if isinstance(s, Table))


def test_a_single_fix_gets_the_verdict_it_has_among_all(tmp_path: Path) -> None:
    def exploit(job: Job, game: str, checkpoint: str) -> float:
        return {"loophole": 0.8, "audit": 0.1}[job.spec.arm] if job.spec.arm != BASE else 0.1

    found = sections(fill(small("mitigations", tmp_path, "study.fixes=audit"), exploit))
    assert [(v.keys["fix"], v.name) for v in found.section("verdicts").items] == [("audit", "closes")]
    matrix = found.section("shadow-self-grading")
    assert matrix.row_names == (BASE, "loophole", "audit")
    assert matrix.column_names == ("loophole", "control", "audit", "placebo")


def test_an_unproven_game_gets_no_verdict(tmp_path: Path) -> None:
    study = fill(small("mitigations", tmp_path), learns)
    study.grid.checked["self-grading"] = Report("self-grading", "unproven", (), ("no control",))
    (verdict,) = sections(study).section("verdicts").items
    assert verdict.sentence == "No verdict: the game is unproven (no control)."
