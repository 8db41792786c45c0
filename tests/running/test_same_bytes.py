"""README's main line writes what 0.1 wrote: steps, rollouts, scores, checkpoints and evaluations, byte for byte.

Held until what is claimed, and so what is run by default, changes. Floating point differs between processors, so
elsewhere than where 0.1's bytes were taken (AVX-512, these versions) it is skipped.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import loopkit

KINDS = {"steps.jsonl", "rollouts", "scores", "checkpoints", "eval"}
VERSIONS = {"torch": "2.13.0", "transformers": "5.24.0", "numpy": "2.4.6", "pyarrow": "25.0.1"}
OF_0_1 = {
    "base-s0": "3837d192fa3226695094e5495732c30003cb00b510c04378f5d01a938e51620e",
    "loophole-s0": "0bb3c07798ddff646db8a6610abd0c1721bb21409cf94090409146b12f00479b",
    "control-s0": "430b08ed5ded1d1522991dc8b646e169915d9a8f110450aad0a2a36e433972eb",
}


def digest(run: Path) -> str:
    """Of every file of a run that is not a setting and no time: its path and its hash."""
    whole = hashlib.sha256()
    for file in sorted(run.rglob("*")):
        name = file.relative_to(run)
        if file.is_file() and name.parts[0] in KINDS:
            whole.update(f"{name.as_posix()} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


@pytest.mark.slow
@pytest.mark.nightly
def test_the_main_line_writes_the_bytes_of_0_1(tmp_path: Path) -> None:
    here = {name: version(name).partition("+")[0] for name in VERSIONS}
    if here != VERSIONS or torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip(f"0.1's bytes are of AVX512 and {VERSIONS}; here {here}")
    out = tmp_path / "out"
    loopkit.run(
        game="context-compliance", trainer="grpo", seeds=1, arms=["loophole", "control"], out=out, progress=False
    )
    assert {name: digest(out / name) for name in OF_0_1} == OF_0_1
