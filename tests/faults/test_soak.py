"""The soak as a test, run by hand: its last result is in docs/faults.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.dists import environment


@pytest.mark.acceptance
@pytest.mark.timeout(7200)
def test_a_hundred_kills_lose_double_and_change_nothing() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "tests.soak", "--kills", "100"], cwd=root, env=environment())
    assert done.returncode == 0
