"""(d) Cost and memory of a step as P x G goes from 128 to 4,096, each size in a process of its own."""

from __future__ import annotations

from statistics import median

from benchmarks import workload
from benchmarks.measure import Row, call

SIZES = (128, 256, 512, 1024, 2048, 4096)
STEPS = 4


def rows(rounds: int) -> list[Row]:
    out = []
    first = None
    for size in SIZES:
        runs = [
            call("benchmarks.ours", "--steps", STEPS, "--prompts", size // workload.GROUP, "--beta", workload.BETA)
            for _ in range(rounds)
        ]
        cost = median(median(r["cpu"]) for r in runs) / size
        memory = max(r["peak_mb"] for r in runs)
        first = first or (cost, memory)
        out.append(
            Row(f"P x G = {size}", "CPU ms a rollout", 1e3 * cost, 1e3 * first[0], "128", cost / first[0],
                aim="1", note=f"peak {memory:.0f} MB, {memory / first[1]:.2f} x that at 128")
        )  # fmt: skip
    return out
