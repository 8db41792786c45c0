"""One process of ours: steps of a run with its records, timed one by one. Prints JSON."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmarks import workload
from loopkit.contracts import PolicyRef
from loopkit.experiment.rundir import RunDir
from loopkit.policy.process import tune
from loopkit.records import StepMetrics
from loopkit.registry import plugins as registry
from loopkit.rollouts.referee import LocalReferee


def main() -> None:
    options = workload.parser(__doc__).parse_args()
    tune(1)
    cls = registry.load().trainer("grpo")
    chosen = cls.Options.model_validate(
        {"learning_rate": workload.STILL, "beta": options.beta, "checkpoint_every": 10**6}
    )
    wall: list[float] = []
    cpu: list[float] = []
    tokens: list[float] = []

    def closed(metrics: StepMetrics) -> None:
        wall.append(time.perf_counter())
        cpu.append(time.process_time())
        tokens.append(metrics.trainer["tokens"])

    with tempfile.TemporaryDirectory() as directory:
        run = RunDir(Path(directory), closed)
        referee = LocalReferee(
            workload.setup("loophole"),
            seed=options.seed,
            split="train",
            n_steps=options.steps,
            prompts_per_step=options.prompts,
            group_size=workload.GROUP,
            recorder=run,
        )
        cls(chosen, PolicyRef(workload.START), options.seed).train(referee, run.checkpoints)
        timings = [json.loads(line) for line in (run.path / "timings.jsonl").read_text().splitlines()]
    print(
        json.dumps(
            {
                "wall": [b - a for a, b in pairwise(wall)],
                "cpu": [b - a for a, b in pairwise(cpu)],
                "tokens": tokens[1:],
                "play": [t["play_s"] for t in timings[1:]],
                "learn": [t["learn_s"] for t in timings[1:]],
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
