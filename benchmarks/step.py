"""(a) A GRPO step against TRL's: the same policy, prompts, group size and token counts, each in its own process."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.measure import Row, call, paired

STEPS = 14
SKIP = 2
"""First steps of each process, not counted: both sides still import and allocate."""


def rows(rounds: int) -> list[Row]:
    out = []
    for beta in (0.0, 0.5):
        ours, peer = [], []
        for _ in range(rounds):
            ours.append(call("benchmarks.ours", "--steps", STEPS, "--beta", beta))
            peer.append(call("benchmarks.peer", "--steps", STEPS, "--beta", beta))
        tokens = [round(median(t for r in side for t in r["tokens"])) for side in (ours, peer)]
        what = f"a GRPO step, beta {beta:g}"
        note = f"{tokens[0]} and {tokens[1]} tokens a step"
        out.append(paired(what, "s", _median(ours, "wall"), _median(peer, "wall"), "TRL", aim="2", note=note))
        out.append(paired(what, "CPU s", _median(ours, "cpu"), _median(peer, "cpu"), "TRL"))
        play, learn = (median(t for r in ours for t in r[k][SKIP:]) for k in ("play", "learn"))
        out.append(Row(f"{what}: sampling and scoring", "s", play))
        out.append(Row(f"{what}: learning", "s", learn))
    return out


def _median(runs: list[dict[str, Any]], key: str) -> list[float]:
    return [median(r[key][SKIP:]) for r in runs]
