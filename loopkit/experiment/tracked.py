"""A run's numbers under the names that trackers show: what every tracker plugin sends, and how a run is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loopkit.records import StepMetrics


def step_numbers(metrics: StepMetrics) -> dict[str, float]:
    """A step's numbers, each under a name of its kind: reward/, score/, exploit/, trainer/; what has no value is left
    out."""
    rates = {name: e.value for name, e in metrics.rates.items() if e is not None}
    found = _named({"reward": metrics.rewards, "score": metrics.scores, "exploit": rates, "trainer": metrics.trainer})
    return found if metrics.mixed_groups is None else {**found, "mixed_groups": metrics.mixed_groups}


def heldout_numbers(directory: str) -> dict[str, float]:
    """A run's evaluations, each name under heldout/EVALUATION/."""
    found: dict[str, float] = {}
    for file in sorted(Path(directory).glob("eval/*/*/metrics.json")):
        metrics = json.loads(file.read_bytes())
        kinds = {kind: {n: e["value"] if isinstance(e, Mapping) else e for n, e in metrics[key].items()}
                 for kind, key in (("reward", "rewards"), ("score", "scores"), ("exploit", "rates"))}  # fmt: skip
        found |= {f"heldout/{file.parent.name}/{name}": value for name, value in _named(kinds).items()}
    return found


def closed_steps(directory: str) -> int:
    """How many steps a run has recorded."""
    lines = Path(directory) / "steps.jsonl"
    return len(lines.read_bytes().splitlines()) if lines.exists() else 0


def identity(directory: str) -> tuple[str, str, str]:
    """(experiment, run, key) of a run's directory; the key is the same whenever the run is resumed."""
    path = Path(directory).resolve()
    return path.parent.name, path.name, hashlib.sha256(str(path).encode()).hexdigest()[:12]


def _named(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {
        f"{kind}/{name}": float(value)
        for kind, numbers in kinds.items()
        for name, value in numbers.items()
        if value is not None
    }
