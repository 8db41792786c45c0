"""One event file a run (and one more for each time it is resumed), at <LOOPKIT_TENSORBOARD>/<experiment>/<run>."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loopkit.errors import needing
from loopkit.records import StepMetrics

_writers: dict[str, Any] = {}


def start(where: str, directory: str) -> None:
    """Open the run's writer. Steps that a resumed run plays again replace what was written of them."""
    with needing("LOOPKIT_TENSORBOARD"):
        import tensorboard  # noqa: F401 - torch's writer would not say which package it lacks
        from torch.utils.tensorboard import SummaryWriter
    path = Path(directory).resolve()
    lines = path / "steps.jsonl"
    done = len(lines.read_bytes().splitlines()) if lines.exists() else 0
    log = Path(where) / path.parent.name / path.name
    _writers[directory] = SummaryWriter(str(log), purge_step=done if done else None)


def step(directory: str, metrics: StepMetrics) -> None:
    """The step's numbers, each under a tag of its kind: reward/, score/, exploit/, trainer/."""
    writer = _writers[directory]
    rates = {name: e.value for name, e in metrics.rates.items() if e is not None}
    for tag, value in _tagged(
        {"reward": metrics.rewards, "score": metrics.scores, "exploit": rates, "trainer": metrics.trainer}
    ):
        writer.add_scalar(tag, value, metrics.step)
    if metrics.mixed_groups is not None:
        writer.add_scalar("mixed_groups", metrics.mixed_groups, metrics.step)
    writer.flush()


def finish(directory: str) -> None:
    """The evaluations, under heldout/, at the step after the last."""
    writer = _writers.pop(directory)
    path = Path(directory)
    lines = path / "steps.jsonl"
    after = len(lines.read_bytes().splitlines()) if lines.exists() else 0
    for file in sorted(path.glob("eval/*/*/metrics.json")):
        metrics = json.loads(file.read_bytes())
        kinds = {kind: {n: e["value"] if isinstance(e, Mapping) else e for n, e in metrics[key].items()}
                 for kind, key in (("reward", "rewards"), ("score", "scores"), ("exploit", "rates"))}  # fmt: skip
        for tag, value in _tagged(kinds):
            writer.add_scalar(f"heldout/{file.parent.name}/{tag}", value, after)
    writer.close()


def _tagged(kinds: Mapping[str, Mapping[str, float | None]]) -> Iterator[tuple[str, float]]:
    for kind, numbers in kinds.items():
        for name, value in numbers.items():
            if value is not None:
                yield f"{kind}/{name}", value
