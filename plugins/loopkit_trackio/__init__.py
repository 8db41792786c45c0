"""trackio: keeps a run's steps and its evaluation in Trackio's local store, in the project LOOPKIT_TRACKIO.

Off unless that variable is set; its own are obeyed (TRACKIO_DIR, TRACKIO_SPACE_ID). It is inherited by the processes of
the runs, in which the hooks are called; a process has one run of Trackio's at a time. `trackio show` shows them.
"""

import os
from collections.abc import Mapping
from typing import Any

from loopkit.errors import needing
from loopkit.experiment.tracked import closed_steps, heldout_numbers, identity, step_numbers
from loopkit.records import StepMetrics
from loopkit.registry.hookspecs import hookimpl

VARIABLE = "LOOPKIT_TRACKIO"
_runs: dict[str, Any] = {}


@hookimpl
def run_started(directory: str, spec: Mapping[str, Any]) -> None:
    if not (project := os.environ.get(VARIABLE)):
        return
    with needing(VARIABLE):
        import trackio
    experiment, run, _ = identity(directory)
    _runs[directory] = trackio.init(
        project=project, name=f"{experiment}/{run}", group=experiment, config=dict(spec), resume="allow", embed=False,
    )  # fmt: skip


@hookimpl
def step_closed(directory: str, metrics: StepMetrics) -> None:
    if run := _runs.get(directory):
        run.log(step_numbers(metrics), step=metrics.step)


@hookimpl
def run_finished(directory: str) -> None:
    if run := _runs.pop(directory, None):
        run.log(heldout_numbers(directory), step=closed_steps(directory))
        run.finish()
