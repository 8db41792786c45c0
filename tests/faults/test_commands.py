"""The installed command on faults: games that raise or never answer, Ctrl-C at any moment, a second process."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from loopkit.cli import main
from loopkit.system.files import locked
from tests.faults import small
from tests.faults.commands import Moody, wait_for, within
from tests.soak import group

slow = [pytest.mark.slow, pytest.mark.timeout(900)]
INTERRUPTED = "Interrupted. Nothing recorded is lost: the same command resumes."


@pytest.fixture
def moody(tmp_path: Path) -> Moody:
    return Moody(tmp_path)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command ends in where nothing goes wrong."""
    moody = Moody(tmp_path_factory.mktemp("calm"))
    code, said = moody.run()
    assert code == 0, said
    return moody.out


# --- a game that raises, or never answers -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_game_that_raises_twice_is_asked_again_and_leaves_no_trace_but_the_notice(moody: Moody, calm: Path) -> None:
    moody.mood("train", "raise 2")
    code, said = moody.run()
    assert code == 0, said
    small.same(moody.out, calm)
    told = [json.loads(line) for line in said.splitlines() if "went on" in line]
    assert [t["run"] for t in told] == ["loophole-s0"] * 2
    what = "asked again: who: game Moody: assess(), why: ConnectionError: the judge is away, attempt: "
    assert [t["what"].startswith(what) for t in told] == [True, True]
    lines = [json.loads(line) for line in (moody.out / "loophole-s0/timings.jsonl").read_text().splitlines()]
    assert [line["attempt"] for line in lines if line.get("event") == "asked again"] == [1, 2]


@pytest.mark.slow
def test_a_game_that_goes_on_raising_stops_its_run_and_the_same_command_resumes(moody: Moody, calm: Path) -> None:
    moody.mood("train", "raise 1000")
    code, said = moody.run()
    assert code == 3
    why = next(json.loads(line)["why"] for line in said.splitlines() if '"run failed"' in line)
    raised = "game Moody: assess() raised ConnectionError: the judge is away, 3 times in a row, of train/000002/"
    assert why.startswith(raised)
    assert "Nothing was paid. Mend it, and run the same command to resume." in why
    run = moody.out / "loophole-s0"
    assert [json.loads(line)["step"] for line in (run / "steps.jsonl").read_text().splitlines()] == [0, 1]
    assert not (run / "scores/step-000002.parquet").exists()
    assert (moody.out / "base-s0/eval").exists(), "the other run went on"
    moody.mood("train", None)
    code, said = moody.run()
    assert code == 0, said
    small.same(moody.out, calm)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "fault"),
    [
        ("train", "spin"),
        *(pytest.param(*case, marks=pytest.mark.nightly) for case in (("train", "sleep"), ("test", "spin"))),
    ],
)
def test_a_stuck_rollout_is_stopped_and_named(moody: Moody, calm: Path, phase: str, fault: str) -> None:
    moody.mood(phase, fault)
    code, said = moody.run("--deadline", "3")
    assert code == 3
    whys = [json.loads(line)["why"] for line in said.splitlines() if '"run failed"' in line]
    first = "train/000002/0000/" if phase == "train" else "test/000000/0000/"
    assert len(whys) == (1 if phase == "train" else 2)
    for why in whys:
        assert why.startswith(f"game Moody: assess() did not answer in 3 s, asked about {first}")
        assert why.endswith("Mend it, or raise --deadline; the same command resumes.")
    error = (moody.out / "loophole-s0/error.txt").read_text()
    assert error.count(f"\n  {first.split('/')[0]}/00000") == (8 if phase == "train" else 16), "every rollout is named"
    assert 'moody_games.py", line' in error, "and the line it hangs in"
    assert "in misbehave" in error
    moody.mood(phase, None)
    code, said = moody.run("--deadline", "500")  # another deadline is no other spec
    assert code == 0, said
    small.same(moody.out, calm)


# --- Ctrl-C and SIGTERM ----------------------------------------------------------------------------------------------


def until(moody: Moody, when: str) -> list[str] | None:
    """Arrange that the command can be met in a phase; returns its arguments where they are others."""
    if when == "check":
        moody.mood("check", "sleep")
    elif when == "stuck in the game":
        moody.mood("train", "spin")
    elif when in ("loading", "training"):
        moody.mood("train", "slow")  # else it may be over before the signal comes
    elif when == "evaluation":
        moody.mood("test", "sleep")
    elif when == "warm-up":
        return ["tiny" if a == moody.arguments[4] else a for a in moody.arguments]
    return None


def reached(moody: Moody, when: str) -> bool:
    run = moody.out / "loophole-s0"
    if when == "loading":
        return (moody.out / "check.json").exists()
    if when == "training":
        return (run / "steps.jsonl").exists()
    if when == "stuck in the game":
        return (run / "checkpoints/step-000002").exists()
    if when == "check":
        return (moody.out / "experiment.toml").exists()
    return '"warm-up"' in moody.said() if when == "warm-up" else '"evaluate"' in moody.said() or _asked(moody)


def _asked(moody: Moody) -> bool:
    return (moody.out / "base-s0/run.toml").exists() and (moody.out / "loophole-s0/checkpoints/step-000004").exists()


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "number"),
    [
        ("stuck in the game", signal.SIGINT),
        ("training", signal.SIGTERM),
        *(
            pytest.param(when, signal.SIGINT, marks=pytest.mark.nightly)
            for when in ("loading", "check", "warm-up", "training", "evaluation")
        ),
        pytest.param("check", signal.SIGTERM, marks=pytest.mark.nightly),
    ],
)
def test_an_interrupt_ends_it_in_five_seconds_and_leaves_no_process(
    moody: Moody, calm: Path, when: str, number: signal.Signals
) -> None:
    arguments = until(moody, when)
    process = moody.start(arguments=arguments)
    wait_for(lambda: reached(moody, when))
    time.sleep(0.3)
    assert process.poll() is None
    began, limit = time.monotonic(), within(5)
    if number == signal.SIGINT:  # a terminal sends it to the whole group; whoever sends SIGTERM, to the command
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(30) == 130
    wait_for(lambda: not group(process.pid), max(0.1, began + limit - time.monotonic()))
    assert time.monotonic() - began < limit
    said = moody.said()
    assert said.count(INTERRUPTED) == 1
    assert "Traceback" not in said
    if when in ("training", "stuck in the game"):
        for phase in ("check", "train", "test"):
            moody.mood(phase, None)
        code, said = moody.run()
        assert code == 0, said
        small.same(moody.out, calm)


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.02, *(pytest.param(p, marks=pytest.mark.nightly) for p in (0.0, 0.2))])
def test_a_second_interrupt_changes_nothing_of_it(moody: Moody, pause: float) -> None:
    process = moody.start(arguments=until(moody, "training"))
    wait_for(lambda: reached(moody, "training"))
    began, limit = time.monotonic(), within(5)
    for _ in range(5):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(pause)
    assert process.wait(30) == 130
    wait_for(lambda: not group(process.pid), max(0.1, began + limit - time.monotonic()))
    said = moody.said()
    assert INTERRUPTED in said
    assert "Traceback" not in said
    code, said = moody.run()
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize(
    "when", ["training", *(pytest.param(w, marks=pytest.mark.nightly) for w in ("loading", "stuck in the game"))]
)
def test_the_runs_die_with_the_command(moody: Moody, when: str) -> None:
    """kill -9 of the command alone: nobody is left to clean up, and still nothing goes on."""
    until(moody, when)
    process = moody.start()
    wait_for(lambda: reached(moody, when))
    time.sleep(0.3)
    assert len(group(process.pid)) > 1
    process.kill()
    process.wait()
    wait_for(lambda: not group(process.pid), within(5))


# --- two processes ----------------------------------------------------------------------------------------------------


def test_a_second_command_on_an_experiment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with locked(tmp_path / "out"), pytest.raises(SystemExit) as stop:
        main(["run", "--game", "self-grading", "--out", "out"])
    assert stop.value.code == 3
    said = " ".join(capsys.readouterr().err.split())
    assert said == "Error: out is in use by another process. Wait for it, or choose another --out."
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".lock"]


@pytest.mark.slow
def test_a_second_command_does_not_disturb_the_first(moody: Moody, calm: Path) -> None:
    first = moody.start(arguments=until(moody, "loading"))
    wait_for(lambda: reached(moody, "loading"))
    code, said = moody.run()
    assert code == 3
    assert "is in use by another process" in " ".join(said.split())
    assert first.wait(200) == 0
    assert not list(moody.out.rglob("error.txt"))
    small.same(moody.out, calm)
