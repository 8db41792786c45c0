"""Damage is noticed: each file of a run, damaged in six ways, by all who read it; and a kill is none. About 10 s."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loopkit import read
from loopkit.checks import Report
from loopkit.cli import main
from loopkit.errors import LoopkitError, RunError
from loopkit.evidence.results import collect
from loopkit.experiment import digests, verifying
from loopkit.experiment.config import RolloutQuery, RunSpec, read_experiment
from loopkit.experiment.recorded import select
from loopkit.experiment.resolve import resolve, set_up
from loopkit.experiment.rundir import RunDir
from loopkit.policy import save
from loopkit.registry import plugins as registry
from loopkit.report.gather import gather
from loopkit.rollouts.playing import play
from loopkit.rollouts.referee import LocalReferee
from loopkit.running.runner import finished
from tests.experiment.test_rundir import SPEC, Says, contents, played
from tests.report import scripted
from tests.runs import without_digests
from tests.toys import DOUBLING, setup

RUN = "loophole-s0"
SETTINGS = {"steps": 3, "prompts_per_step": 8, "group_size": 4, "eval_prompts": 40}


def checkpoint(run: Path, step: int, data: bytes) -> Path:
    folder = run / "checkpoints" / save.checkpoint_name(step)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(data)
    (folder / save.HASHES).write_text(json.dumps(save._hashes(folder)))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished experiment: base, loophole and control with 3 steps, a checkpoint and a judge's answers each."""
    out = scripted.experiment(tmp_path_factory.mktemp("whole") / "out", steps=3, held_out=40, seeds="1")
    for run in (out / RUN, out / "control-s0"):
        checkpoint(run, 3, f"weights of {run.name}".encode())
        (run / "judges").mkdir()
        (run / "judges/refusal.jsonl").write_text(f'{{"key": "{run.name}", "answer": {{}}}}\n')
        RunDir(run).seal(finished=True)
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "out")


@functools.cache
def specs() -> list[RunSpec]:
    return resolve(
        read_experiment(None, settings={"run": SETTINGS}, game="context-compliance", seeds="1"), registry.load()
    )


READERS: dict[str, Callable[[Path], object]] = {
    "resume": lambda out: [finished(spec, out) for spec in specs()],
    "read": read,
    "report": lambda out: gather([out], registry.load()),
    "verdict": lambda out: collect(specs(), out, set_up(registry.load(), specs()[0]), Report("a game", "proven", ())),
    "learn from": lambda out: select(RolloutQuery(run=str(out / RUN)), registry.load()),
}


def edit(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "zeroed": lambda path, other: path.write_bytes(bytes(path.stat().st_size)),
    "emptied": lambda path, other: path.write_bytes(b""),
    "cut": lambda path, other: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "missing": lambda path, other: path.unlink(),
    "edited": edit,
    "another run's": lambda path, other: shutil.copyfile(other, path),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_every_damaged_file_is_named_by_all_who_read_it(out: Path, how: str) -> None:
    run = out / RUN
    for reader in READERS.values():
        reader(out)
    names = [name for name, _ in digests.files(run)] + [digests.FILE]
    assert {name.partition("/")[0] for name in names} >= {*digests.SINGLE, *digests.FOLDERS}
    missed = []
    for name in names:
        before = (run / name).read_bytes()
        DAMAGES[how](run / name, out / "control-s0" / name)
        for reader, reads in READERS.items():
            try:
                found = reads(out)
            except LoopkitError as error:
                shown = str(error)
            else:
                shown = f"to be made again: {RUN}/{name}" if found == [True, False, True, True] else ""
            if name.rpartition("/")[2] not in shown or RUN not in shown:
                missed.append((name, reader, shown))
        (run / name).write_bytes(before)
    assert missed == []


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("scores/step-000001.parquet", "loopkit rescore {run}"),
        ("eval/context-compliance/test-step-000003/rollouts.parquet", "remove {run}/eval and .* it evaluates again"),
        ("rollouts/step-000001.parquet", "remove {run} and .* it is made anew"),
    ],
)
def test_the_cure_is_the_least_that_mends_it(out: Path, name: str, cure: str) -> None:
    (out / RUN / name).unlink()
    with pytest.raises(RunError, match=cure.format(run=out / RUN)):
        verifying.verify([out / RUN])


def test_a_file_too_many_is_named(out: Path) -> None:
    shutil.copyfile(out / "control-s0/scores/step-000002.parquet", out / RUN / "scores/step-000003.parquet")
    with pytest.raises(RunError, match=r"scores/step-000003\.parquet is no file of this run"):
        read(out)


def test_a_missing_run_is_named(out: Path) -> None:
    shutil.rmtree(out / "control-s0")
    with pytest.raises(RunError, match=r"control-s0 is missing"):
        read(out)


# --- begun without digests --------------------------------------------------------------------------------------------


@pytest.fixture
def old(out: Path) -> Path:
    """The same, as a version without digests would have left it."""
    for run in out.glob("*-s0"):
        without_digests(run)
    return out


def test_an_old_run_is_read_and_marked(old: Path) -> None:
    found = read(old)
    assert {run.name for run in found.unverifiable()} == {"base-s0", RUN, "control-s0", "placebo-s0"}
    assert "Not verifiable" in found.text()
    assert f"loopkit seal {old}" in " ".join(found.text(verbose=True).split())
    assert all(run.files == verifying.NOT_VERIFIABLE for run in gather([old], registry.load())[0].runs)  # type: ignore[union-attr]
    assert finished(specs()[1], old)


@pytest.mark.parametrize(
    ("name", "how", "says"),
    [
        ("steps.jsonl", lambda p: p.write_text(p.read_text().splitlines(keepends=True)[0]), "1 of 3 steps"),
        ("steps.jsonl", lambda p: p.unlink(), "0 of 3 steps"),
        ("steps.jsonl", lambda p: p.write_bytes(bytes(100)), r"steps\.jsonl, line 1, cannot be read"),
        ("eval/context-compliance/test-step-000003/scores.parquet", lambda p: p.unlink(), "is missing"),
        ("eval/context-compliance/test-step-000003/rollouts.parquet", lambda p: p.write_bytes(bytes(100)), "rollouts"),
    ],
)
def test_an_old_finished_run_with_a_hole_shows_no_number(
    old: Path, name: str, how: Callable[[Path], object], says: str
) -> None:
    how(old / RUN / name)
    for reader in ("resume", "read", "report", "verdict"):
        with pytest.raises(RunError, match=says):
            READERS[reader](old)
    with pytest.raises(RunError, match=says):
        verifying.seal(old / RUN)


def test_an_old_run_goes_on_without_digests(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.begin(SPEC, {})
    without_digests(run.path)
    run.begin(SPEC, {})
    run.drop(0)
    played(run)
    run.seal(finished=True)
    assert not (run.path / digests.FILE).exists()
    assert len(run.steps()) == 2


def seal(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["seal", *arguments])
    return int(stop.value.code or 0)


def test_the_command_seals_checks_and_takes_anew(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seal(str(old), "--check") == 1
    assert seal(str(old)) == 0
    assert seal(str(old), "--check", "--json") == 0
    rows = json.loads(capsys.readouterr().out.rpartition("\n[")[2].join(["[", ""]))
    assert {r["state"] for r in rows} == {"whole"}
    assert read(old).unverifiable() == []
    weights, steps = old / RUN / "checkpoints/step-000003/model.safetensors", old / RUN / "steps.jsonl"
    edit(weights, weights)
    steps.write_text(steps.read_text().replace('"n": 32', '"n": 31'))
    assert seal(str(old / RUN)) == 1
    assert "model.safetensors is not what was written" in " ".join(capsys.readouterr().out.split())
    assert seal(str(old / RUN), "--anew", "--check") == 2
    assert seal(str(old / RUN), "--anew") == 0
    assert seal(str(old), "--check") == 0
    steps.write_text("")
    assert seal(str(old / RUN), "--anew") == 3
    assert seal(str(old / RUN), "--check") == 1  # what it was known by is kept
    known = digests.read(old / RUN)
    assert known is not None
    assert known.taken == digests.AFTERWARDS


def test_large_weights_are_read_to_the_end_by_the_command_only(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "LARGE", 1)
    weights = out / RUN / "checkpoints/step-000003/model.safetensors"
    edit(weights, weights)
    assert verifying.damage(out / RUN) == []
    assert verifying.damage(out / RUN, whole=True) == [
        "checkpoints/step-000003/model.safetensors is not what was written"
    ]
    weights.write_bytes(b"")
    assert "is not what was written (0 bytes" in verifying.damage(out / RUN)[0]


# --- a kill is no damage ----------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What no handler takes for an error."""


@pytest.fixture
def kill_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Call with k: the k-th file from now on, counted from 0, is not renamed into its place, and the process ends."""
    replace, left = Path.replace, [-1]

    def replaces(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] == -1:
            raise Killed
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replaces)
    yield lambda k: left.__setitem__(0, k)
    left[0] = -1


def whole_run(path: Path) -> dict[str, bytes]:
    """The doubling game to its end, from wherever it was left: from the step after the last that is known."""
    run = RunDir(path)
    run.begin(SPEC, {})
    verifying.verify([path])
    known = digests.read(path)
    assert known is not None
    referee = LocalReferee(
        setup(DOUBLING), seed=0, split="train", n_steps=2, prompts_per_step=4, group_size=3, recorder=run
    )
    done = len(known.steps)
    referee.resume(done)
    for step in range(done, 2):
        play(referee, Says(), step)
        referee.close(step, {"loss": 0.1 * step}, {"play_s": 1.0})
    run.seal(finished=True)
    return {name: data for name, data in contents(path).items() if name not in ("timings.jsonl", ".lock")}


def test_killed_before_any_file_it_ends_in_the_same_bytes(tmp_path: Path, kill_before: Callable[[int], None]) -> None:
    expected = whole_run(tmp_path / "whole")
    for k in range(100):
        path = tmp_path / str(k)
        kill_before(k)
        try:
            assert whole_run(path) == expected
        except Killed:
            kill_before(-1)
            assert whole_run(path) == expected, f"killed before file {k}"
        else:
            break
    assert k > 12  # spec, manifest, and for each of two steps two shards, a line and the digests


def test_killed_in_a_rescore_both_scores_are_known(out: Path, kill_before: Callable[[int], None]) -> None:
    run, rollouts = RunDir(out / RUN), out / RUN / "rollouts/step-000001.parquet"
    file, new = out / RUN / "scores/step-000001.parquet", (out / RUN / "scores/step-000000.parquet").read_bytes()
    for k in range(3):
        kill_before(k)
        with pytest.raises(Killed):
            run.rebuild(file, new, rollouts)
        kill_before(-1)
        assert verifying.damage(out / RUN) == []
    run.rebuild(file, new, rollouts)
    known = digests.read(out / RUN)
    assert known is not None
    assert (known.rewriting, known.rescored) == (
        {},
        {"scores/step-000001.parquet": known.files["rollouts/step-000001.parquet"]},
    )


def test_rescore_rebuilds_damaged_scores_and_refuses_damaged_rollouts(out: Path) -> None:
    before = contents(out / RUN)
    for name in ("scores/step-000001.parquet", "eval/context-compliance/test-step-000003/metrics.json"):
        (out / RUN / name).write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        main(["rescore", str(out / RUN)])
    assert stop.value.code == 0
    after = contents(out / RUN)
    assert [name for name in before if before[name] != after[name]] == [digests.FILE]
    assert verifying.damage(out / RUN) == []
    (out / RUN / "rollouts/step-000001.parquet").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        main(["rescore", str(out / RUN)])
    assert stop.value.code == 3


def test_an_evaluation_killed_before_its_digests_is_made_again(out: Path) -> None:
    run, spec = RunDir(out / RUN), specs()[1]
    known = digests.read(run.path)
    assert known is not None
    known.forget(lambda name: name.startswith("eval/"))
    known.finished = False
    known.write(run.path)
    assert run.read_eval(spec.game, "test", "step-000003") is None
    assert not finished(spec, out)


# --- checkpoints, and the disk ----------------------------------------------------------------------------------------


def test_another_run_s_checkpoint_is_not_gone_on_from(out: Path) -> None:
    run = out / RUN
    checkpoint(run, 2, b"earlier weights")
    digests.add(run, only="checkpoints/step-000002/")
    assert save.latest_checkpoint(run / "checkpoints") == (3, run / "checkpoints/step-000003")
    shutil.rmtree(run / "checkpoints/step-000003")
    shutil.copytree(out / "control-s0/checkpoints/step-000003", run / "checkpoints/step-000003")
    assert save.latest_checkpoint(run / "checkpoints") == (2, run / "checkpoints/step-000002")
    with pytest.raises(RunError, match=r"step-000003 is damaged"):
        save.require_whole(run / "checkpoints/step-000003")


def test_a_run_does_not_go_on_over_a_damaged_record(out: Path) -> None:
    run = RunDir(out / RUN)
    edit(out / RUN / "rollouts/step-000001.parquet", out)
    with pytest.raises(RunError, match=r"rollouts/step-000001.*remove every checkpoint after .*step-000001 "):
        run.drop(3)
    run.drop(1)  # as its cure has it
    assert verifying.damage(out / RUN) == []
    assert [s["step"] for s in run.steps()] == [0]


def test_what_is_sealed_is_on_the_disk_before_its_digests(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    run = RunDir(out / "going-on")
    run.begin(SPEC, {})
    played(run)
    known = digests.read(run.path)
    assert known is not None
    assert not known.finished
    assert synced == []  # a step costs no wait for the disk
    RunDir(out / RUN).seal()
    last = next(k for k, path in enumerate(synced) if path.endswith(f".tmp-{digests.FILE}"))
    before = set(synced[:last])
    assert {str(path) for _, path in digests.files(out / RUN)} <= before
    assert {str(path.parent) for _, path in digests.files(out / RUN)} <= before
    assert synced[last + 1 :] == [str(out / RUN)]  # the folder, once it was renamed
