"""A run's path to the exploit: onset, domination and first exploit, for results, studies and pages alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from loopkit.evidence.windows import Trace, first_steps, windows
from loopkit.records import Estimate, Json
from loopkit.rollouts.scoring import Setup
from loopkit.stats.onset import Discovery, apart, discovery, onset
from loopkit.stats.verdict import Margins


class Beside(NamedTuple):
    """What a run's path is told by, besides its own rates: all of an experiment that is finished."""

    trace: Trace
    """Of the run itself."""
    placebo: Trace
    """Of the placebo run of its seed; empty where there is none."""
    starts: Sequence[Trace]
    """Of one run of every seed: their first step holds base's rate on training prompts."""
    setup: Setup
    margins: Margins


def rates_of(steps: Iterable[Mapping[str, Json]], detector: str) -> list[float | None]:
    """(T,) a detector's rate by step, of the lines of ``steps.jsonl``."""
    return [rate["value"] if (rate := step["rates"].get(detector)) else None for step in steps]


def path(rates: Sequence[float | None], base: Estimate | None, low: float) -> Discovery | None:
    """Of a run with (T,) ``rates``, against base's held-out rate; None where either is unknown.

    ``low``: the least that the detector's rate can be.
    """
    if base is None or base.high is None or all(rate is None for rate in rates):
        return None
    return discovery(rates, onset(rates, base.high, low=low))


def path_beside(rates: Sequence[float | None], base: Estimate | None, beside: Beside) -> Discovery | None:
    """Of a finished experiment's run: beside the placebo run of its seed or, without its record, against base.

    Base's rate is then the larger upper limit of that on held-out and that on training prompts. The margins are scaled
    with the base rate.
    """
    if base is None or base.high is None or all(rate is None for rate in rates) or not any(beside.trace):
        return None
    detector = beside.setup.detectors[beside.setup.onset]
    low, _ = detector.bounds
    if any(beside.placebo):
        margin = beside.margins.near(base.value, low).exploit
        return discovery(rates, apart(windows(detector, beside.trace), windows(detector, beside.placebo), margin))
    start = first_steps(detector, beside.starts)
    highest = max(e.high for e in (base, start) if e is not None and e.high is not None)
    return discovery(rates, onset(rates, highest, low=low))
