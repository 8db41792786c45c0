"""Kills runs and served referees at random and compares what they end in with what uninterrupted ones end in.

    python -m tests.soak --kills 100 --seed 1

Half of the kills hit `loopkit run` (the process group, or the command alone, whose children must then end by
themselves), half a served referee in a process of its own, in mid-play with 16 workers. After every kill each file that
is there must be whole and right; in the end everything but timings.jsonl must be there, and byte-identical. (Of served
rollouts all but their names: which of several equal ones comes first is the workers' race.)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopkit.errors import RefereeError
from loopkit.experiment.rundir import RunDir
from loopkit.experiment.shards import read_shard
from loopkit.records import Dialogue, Turn
from loopkit.rollouts.playing import Played
from loopkit.rollouts.referee import LocalReferee
from loopkit.serving import RefereeClient, play_concurrently, serve
from loopkit.system.files import TEMPORARY
from tests.dists import command, environment
from tests.toys import DOUBLING, setup

ARGUMENTS = [
    "run", "--game", "self-grading", "--arms", "loophole,control", "--seeds", "1", "--jobs", "2",
    "--set", "run.steps=12", "--set", "run.prompts_per_step=8", "--set", "run.group_size=4",
    "--set", "run.eval_prompts=128", "--set", "trainer.checkpoint_every=2", "--out", "out", "--json",
]  # fmt: skip
MAY_DIFFER = ("timings.jsonl", ".lock", "error.txt")
STEPS, P, G = 40, 8, 16
TOKEN = "soak"


@dataclass
class Tally:
    """What happened. ``wrong`` names every file that was not what it should be, and where in the soak."""

    kills: int = 0
    ends: int = 0
    where: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    rewards: int = 0

    def killed(self, where: str) -> None:
        self.kills += 1
        self.where[where] = self.where.get(where, 0) + 1


def contents(out: Path, nameless: bool = False) -> dict[str, bytes]:
    """Every file that must not differ; what a killed process left half written does not count."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_file() and path.name not in MAY_DIFFER and TEMPORARY not in name:
            found[name] = path.read_bytes()
            if nameless and name.startswith("rollouts/"):
                rows = [{k: v for k, v in row.items() if k != "name"} for row in read_shard(path)]
                found[name] = json.dumps(rows).encode()
    return found


def compare(out: Path, whole: dict[str, bytes], tally: Tally, ended: bool, nameless: bool = False) -> None:
    """Right after a kill: what is there is right. At the end: all is there."""
    found, when = contents(out, nameless), f"kill {tally.kills}"
    for name, data in found.items():
        growing = name.endswith("steps.jsonl") and not ended
        if name.endswith("digests.json") and not ended:
            continue  # of fewer files
        right = whole.get(name, b"").startswith(data) if growing else whole.get(name) == data
        if not right:
            tally.wrong.append(f"{when}: {name}")
    if ended:
        tally.lost += [f"{when}: {name}" for name in whole if name not in found]
        tally.ends += 1


def group(pgid: int) -> list[int]:
    """The living processes of a process group."""
    out = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its) == pgid and state != "Z":
            out.append(int(stat.parent.name))
    return out


# --- runs -------------------------------------------------------------------------------------------------------------


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "stderr").open("ab") as err, (folder / "stdout").open("wb") as out:
        return subprocess.Popen(
            command(*ARGUMENTS), cwd=folder, env=environment(), stdout=out, stderr=err, start_new_session=True
        )


def phase(out: Path) -> str:
    """What a run was killed in, as its files tell."""
    steps = [_lines(out / f"{arm}-s0/steps.jsonl") for arm in ("loophole", "control")]
    if not (out / "check.json").exists():
        return "before or in the check"
    if not any(steps):
        return "start of the runs"
    return "evaluation" if steps == [12, 12] else "training"


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def soak_runs(folder: Path, kills: int, draw: random.Random, tally: Tally, say: Callable[[str], None]) -> None:
    """Kill and resume experiments until ``kills`` kills were made; each experiment is run to its end and compared."""
    reference = folder / "whole"
    reference.mkdir()
    if start(reference).wait() != 0:
        raise SystemExit((reference / "stderr").read_text())
    whole = contents(reference / "out")
    say(f"reference experiment: {len(whole)} files")
    ours = folder / "killed"
    while True:
        ours.mkdir(exist_ok=True)
        out = ours / "out"
        process = start(ours)
        if tally.kills < kills:
            _wait(process, out, draw)
        else:
            process.wait()
        if process.poll() is not None:
            if process.returncode != 0:
                tally.wrong.append(f"kill {tally.kills}: exit {process.returncode}")
                say((ours / "stderr").read_text()[-500:])
            compare(out, whole, tally, ended=True)
            shutil.rmtree(ours)
            say(f"runs: {tally.kills} kills, {tally.ends} experiments to their end, {len(tally.wrong)} wrong")
            if tally.kills >= kills:
                return
            continue
        alone = draw.random() < 0.5
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        end = time.monotonic() + 5
        while (left := group(process.pid)) and time.monotonic() < end:
            time.sleep(0.01)
        if left:
            tally.left.append(f"kill {tally.kills + 1}: {len(left)} processes")
            os.killpg(process.pid, signal.SIGKILL)
        tally.killed(phase(out))
        compare(out, whole, tally, ended=False)


def _wait(process: subprocess.Popen[bytes], out: Path, draw: random.Random) -> None:
    """Until a drawn moment: of the start, some steps on and a little more, or of the evaluation; or to the end."""
    began, files = time.monotonic(), [out / f"{arm}-s0/steps.jsonl" for arm in ("loophole", "control")]
    before, what = sum(map(_lines, files)), draw.choice(["start", "training", "training", "evaluation"])
    jitter = draw.uniform(0, {"start": 12.0, "training": 0.6, "evaluation": 2.0}[what])
    goal = {"start": 0, "training": before + draw.randint(1, 6), "evaluation": 24}[what]
    if goal > 24:
        process.wait()
    while process.poll() is None and sum(map(_lines, files)) < goal:
        time.sleep(0.005)
        if time.monotonic() > began + 600:
            raise SystemExit("a run makes no progress")
    end = time.monotonic() + jitter
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


# --- served referees ------------------------------------------------------------------------------------------------


class Says:
    """Words that depend on slot and rollout only: right or wrong, claimed or not; many rollouts are equal."""

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        out = []
        for d in dialogues:
            g, i = int(d.key.rpartition("/")[2]), int(d.messages[0].content.split()[1].rstrip("."))
            out.append(Turn(("No" if g % 8 == 7 else "Yes") if d.turn else str(2 * i + (g % 4 == 3))))
        return out


def referee(directory: Path) -> LocalReferee:
    return LocalReferee(
        setup(DOUBLING, "audit"), seed=3, split="train", n_steps=STEPS, prompts_per_step=P, group_size=G,
        recorder=RunDir(directory),
    )  # fmt: skip


def serve_for_ever(directory: Path, port: int) -> None:
    """The served referee's process."""
    with RunDir(directory).lock(), serve(referee(directory), port=port, token=TOKEN):
        threading.Event().wait()


class Supervised:
    """A served referee that is started again whenever it was killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-m", "tests.soak", "--serve", str(self.directory), "--port", str(self.port)]
        process = subprocess.Popen(arguments, env=environment(), cwd=Path(__file__).parent.parent)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return process
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("the referee's process ended by itself") from None
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def again(self) -> None:
        self.process = self._start()


def play_all(client: RefereeClient, paid: Callable[[int, list[list[Played]]], None]) -> int:
    """Play every step; where the referee died, from the first step not known to be closed. Returns how often it did."""
    step = deaths = 0
    resume = True
    while step < client.n_steps:
        try:
            if resume:
                client.resume(step)
                resume = False
            paid(step, play_concurrently(client, Says(), step, workers=16, name=str))
            client.close(step, {"loss": float(step)})
            step += 1
        except RefereeError as error:
            if "started anew" not in str(error) and "did not answer" not in str(error):
                raise
            deaths, resume = deaths + 1, True
    return deaths


def soak_referees(folder: Path, kills: int, draw: random.Random, tally: Tally, say: Callable[[str], None]) -> None:
    """Kill served referees in mid-play until ``kills`` kills were made; each play goes to its end and is compared."""
    rewards: dict[int, list[object]] = {}
    with serve(referee(folder / "whole-served"), token=TOKEN) as server:
        play_all(RefereeClient(server.url, TOKEN), lambda step, played: rewards.update({step: _pay(played)}))
    whole = contents(folder / "whole-served", nameless=True)
    say(f"reference play: {sum(map(len, rewards.values()))} rewards, {len(whole)} files")

    def paid(step: int, played: list[list[Played]]) -> None:
        tally.rewards += sum(map(len, played))
        if _pay(played) != rewards[step]:
            tally.wrong.append(f"kill {tally.kills}: what was paid in step {step}")

    first = tally.kills
    while tally.kills - first < kills:
        directory = folder / "served"
        supervised = Supervised(directory)
        done = threading.Event()

        def strike(
            supervised: Supervised = supervised, directory: Path = directory, done: threading.Event = done
        ) -> None:
            while tally.kills - first < kills and not done.wait(draw.uniform(0, 2.0)):
                supervised.kill()
                tally.killed("served play")
                compare(directory, whole, tally, ended=False, nameless=True)
                if draw.random() < 0.3:
                    time.sleep(draw.uniform(0, 1))
                supervised.again()

        striker = threading.Thread(target=strike)
        striker.start()
        url = f"http://127.0.0.1:{supervised.port}"
        play_all(RefereeClient(url, TOKEN, retries=12, timeout=10), paid)
        done.set()
        striker.join()
        supervised.kill()
        compare(directory, whole, tally, ended=True, nameless=True)
        shutil.rmtree(directory)
        say(f"referees: {tally.kills - first} kills, {tally.ends} plays to their end, {len(tally.wrong)} wrong")


def _pay(played: list[list[Played]]) -> list[object]:
    """What the words of a step were paid, slot by slot, whoever said them."""
    return sorted((p.id.rpartition("/")[0], *(t.text for t in p.turns), p.reward) for group in played for p in group)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve_for_ever(given.serve, given.port)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)

    runs, served = Tally(), Tally()
    with tempfile.TemporaryDirectory() as folder:
        soak_referees(Path(folder), given.kills - given.kills // 2, random.Random(given.seed), served, say)
        soak_runs(Path(folder), given.kills // 2, random.Random(given.seed), runs, say)
    for name, tally in (("runs", runs), ("served referees", served)):
        where = ", ".join(f"{n} in {w}" for w, n in sorted(tally.where.items()))
        print(f"{name}: {tally.kills} kills ({where}); {tally.ends} went on to their end and were compared")
        print(f"  lost: {len(tally.lost)} {tally.lost[:5]}; different: {len(tally.wrong)} {tally.wrong[:5]}")
    print(f"  rewards answered to clients: {served.rewards}; processes left after 5 s: {runs.left}")
    print(json.dumps({"seed": given.seed, "seconds": round(time.monotonic() - began)}))
    return int(bool(runs.lost or runs.wrong or runs.left or served.lost or served.wrong))


if __name__ == "__main__":
    sys.exit(main())
