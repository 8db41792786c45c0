"""(b) The paired experiment from a cold start: 2 arms x 3 seeds, and base, against TRL run six times, two at once.

Both sides train 40 steps and play 2,000 held-out prompts with each final policy and three times with the start policy.
Ours also checks the game, computes every channel and detector, keeps all records and prints intervals and a verdict.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import workload
from benchmarks.measure import Row, Spent, answer, paired, spent, start

JOBS = 2


def rows(rounds: int) -> list[Row]:
    sides: tuple[list[Spent], list[Spent]] = ([], [])
    for _ in range(rounds):
        sides[0].append(_ours())
        sides[1].append(_peer())
    what = "the experiment, 2 arms x 3 seeds, and base"
    ours, peer = sides
    note = "2,000 prompts evaluated 9 times on both sides"
    return [
        paired(what, "s", [s.wall for s in ours], [s.wall for s in peer], "TRL", aim="5", note=note),
        paired(what, "CPU s", [s.cpu for s in ours], [s.cpu for s in peer], "TRL"),
    ]


def _ours() -> Spent:
    with tempfile.TemporaryDirectory() as directory, spent() as found:
        answer(
            start("benchmarks.command", "run", "--game", workload.GAME, "--trainer", "grpo", "--jobs", JOBS,
                  "--out", Path(directory) / "out")
        )  # fmt: skip
    return found


def _peer() -> Spent:
    waiting = [
        ["--channel", arm, "--seed", seed, *(["--evaluate-start"] if arm == "loophole" else [])]
        for arm in ("loophole", "control")
        for seed in range(3)
    ]
    common = ["--steps", workload.STEPS, "--beta", workload.BETA, "--learning-rate", workload.LEARNING_RATE,
              "--evaluate", workload.EVALUATED]  # fmt: skip
    with spent() as found:
        while waiting:
            both = [start("benchmarks.peer", *common, *waiting.pop(0)) for _ in range(JOBS)]
            for process in both:
                answer(process)
    return found
