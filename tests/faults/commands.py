"""The installed command on games that misbehave on demand, and what is left of its processes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from loopkit.policy.tiny import BUNDLED
from tests.dists import command, environment, install
from tests.soak import group

GAMES = '''
import multiprocessing, re, time
from pathlib import Path
from tests.toys import Doubling

FOLDER = Path(__file__).parent

def misbehave(phase, rollouts):
    """What the file of a phase says, while it is there; "once" only until it has happened."""
    file = FOLDER / phase
    if not file.exists():
        return
    fault = file.read_text()
    if fault == "spin":
        re.match(r"(a+)+$", "a" * 60 + "b")  # in C, and the interpreter's lock is never let go
    if fault in ("slow", "sleep"):
        time.sleep(3 if fault == "slow" else 1000)
    if fault.startswith("raise"):
        left = int(fault.split()[1]) - 1
        file.write_text(f"raise {left}") if left else file.unlink()
        raise ConnectionError("the judge is away")

def phase_of(rollouts):
    if multiprocessing.parent_process() is None:
        return "check"
    if rollouts[0].id.startswith("test/"):
        return "test"
    return "train" if "/000002/" in rollouts[0].id else "early"

class Moody(Doubling):
    def assess(self, rollouts):
        misbehave(phase_of(rollouts), rollouts)
        return super().assess(rollouts)

    def demonstrations(self, task, draw):
        misbehave("demonstrate", [])
        return super().demonstrations(task, draw)

@hookimpl
def register_games(register):
    register("moody", Moody)
'''
"""Files "check", "demonstrate", "train" (in step 2 only) and "test" beside the module say what it does there."""

SMALL = [
    "--arms", "loophole", "--seeds", "1", "--jobs", "2", "--set", "run.steps=4", "--set", "run.prompts_per_step=4",
    "--set", "run.group_size=2", "--set", "run.eval_prompts=16", "--set", "trainer.checkpoint_every=1",
]  # fmt: skip


class Moody:
    """A folder with the game installed, and runs of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site, self.out = folder, folder / "site", folder / "out"
        self.site.mkdir()
        install(self.site, "moody-games", GAMES)
        self.arguments = ["run", "--game", "moody", "--model", str(BUNDLED), *SMALL, "--out", "out"]

    def mood(self, phase: str, fault: str | None) -> None:
        """Misbehave in a phase: "spin", "sleep", "slow" (3 s), "raise 2" (so many times), or None: no longer."""
        file = self.site / phase
        if fault is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(fault)

    def start(self, *more: str, arguments: list[str] | None = None) -> subprocess.Popen[bytes]:
        """The command in a process group of its own; what it says goes to files."""
        env = environment(self.site)
        env["PYTHONPATH"] += f":{Path(__file__).parents[2]}"
        env["LOOPKIT_CACHE"] = str(self.folder / "cache")
        for name in ("stderr", "stdout"):  # a command that is still running keeps its own
            (self.folder / name).unlink(missing_ok=True)
        with (self.folder / "stderr").open("wb") as err, (self.folder / "stdout").open("wb") as out:
            return subprocess.Popen(
                command(*(arguments or self.arguments), *more),
                cwd=self.folder, env=env, stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip

    def run(self, *more: str) -> tuple[int, str]:
        """(exit code, standard error) of the command; nothing of it is left."""
        process = self.start(*more)
        code = process.wait(200)
        wait_for(lambda: not group(process.pid), within(5))
        return code, self.said()

    def said(self) -> str:
        return (self.folder / "stderr").read_text()


def within(seconds: float) -> float:
    """So many seconds on cores of one's own: more where others work beside."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_for(condition: Callable[[], object], seconds: float | None = None) -> None:
    end = time.monotonic() + (within(120) if seconds is None else seconds)
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)
