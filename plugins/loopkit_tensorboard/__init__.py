"""tensorboard: writes a run's steps and its evaluation as TensorBoard events, into the directory LOOPKIT_TENSORBOARD.

Off unless that variable is set. It is inherited by the processes of the runs, in which the hooks are called.
"""

import os
from collections.abc import Mapping
from typing import Any

from loopkit.records import StepMetrics
from loopkit.registry.hookspecs import hookimpl

VARIABLE = "LOOPKIT_TENSORBOARD"


@hookimpl
def run_started(directory: str, spec: Mapping[str, Any]) -> None:
    if where := os.environ.get(VARIABLE):
        from loopkit_tensorboard.tracker import start

        start(where, directory)


@hookimpl
def step_closed(directory: str, metrics: StepMetrics) -> None:
    if os.environ.get(VARIABLE):
        from loopkit_tensorboard.tracker import step

        step(directory, metrics)


@hookimpl
def run_finished(directory: str) -> None:
    if os.environ.get(VARIABLE):
        from loopkit_tensorboard.tracker import finish

        finish(directory)
