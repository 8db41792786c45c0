"""The arithmetic of a benchmark: which way a ratio points, whose CPU seconds count, and what both sides are given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import workload
from benchmarks.__main__ import table
from benchmarks.measure import alternate, paired

ROOT = Path(__file__).parent.parent.parent


def test_a_ratio_says_how_many_times_faster_ours_is() -> None:
    row = paired("a step", "CPU s", [1.0, 2.0, 4.0], [3.0, 4.0, 4.0], "peer", aim="2")
    assert (row.ours, row.peer, row.ratio, row.low, row.high) == (2.0, 4.0, 2.0, 1.0, 3.0)
    assert paired("sampling", "tokens/s", [30.0], [10.0], "peer", rate=True).ratio == 3.0
    found = {"part": {"rows": [row.json()], "seconds": 1, "machine": {"cores": 2}}}
    assert ["a step", "CPU s", "2", "4 (peer)", "2.00 (1.00-3.00)", "2", ""] in [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table(found).splitlines()
    ]


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    assert alternate(2, lambda: side("a"), lambda: side("b")) == [[1.0, 3.0], [2.0, 4.0]]
    assert order == ["a", "b", "a", "b"]


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are waited for on Linux only")
def test_a_process_that_nobody_waits_for_is_counted() -> None:
    """As a fork server is."""
    source = (
        "import subprocess, sys\n"
        "from benchmarks.measure import spent\n"
        "burn = 'import time\\nwhile time.process_time() < 0.5: pass'\n"
        "leave = f'import subprocess, sys; subprocess.Popen([sys.executable, \"-c\", {burn!r}])'\n"
        "with spent() as found:\n"
        "    subprocess.run([sys.executable, '-c', leave], check=True)\n"
        "print(found.cpu)\n"
    )  # in a process of its own: it waits for all its children, and pytest may have others
    done = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True, cwd=ROOT)
    assert float(done.stdout) > 0.5


def test_both_sides_are_paid_alike() -> None:
    game = workload.game()
    tasks = game.tasks("dev")[:6]
    said = [game.specimens(t, lambda purpose: 0.5)["honest"][0][0] for t in tasks]
    paid = workload.rewards(game, "control", tasks, said)
    assert paid == [1.0] * 6
