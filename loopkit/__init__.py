"""loopkit: RL environments with a structural loophole, and the experiment that shows whether a policy learns it.

Everything public is named here, and loaded when first used: ``import loopkit`` loads no torch and no numpy.
"""

# mypy: implicit-reexport
# (the names under TYPE_CHECKING are public: a strict type checker of somebody's plugin must see them)

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from loopkit.system import moved

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from loopkit.checks import check_game, check_intervention, check_trainer  # noqa: F401
    from loopkit.contracts import (  # noqa: F401
        Draw,
        ExploitDetector,
        Game,
        Options,
        Policy,
        PolicyRef,
        Range,
        Referee,
        Reporting,
        RewardChannel,
        RolloutSet,
        Tiny,
        Trainer,
    )
    from loopkit.elsewhere.watched import watch  # noqa: F401
    from loopkit.errors import LoopkitError  # noqa: F401
    from loopkit.experiment.config import Experiment, RunSpec  # noqa: F401
    from loopkit.front.compared import compare  # noqa: F401
    from loopkit.front.designed import study  # noqa: F401
    from loopkit.front.evaluations import evaluate  # noqa: F401
    from loopkit.front.experiments import run  # noqa: F401
    from loopkit.front.reading import read  # noqa: F401
    from loopkit.interventions import Intervention, Monitor  # noqa: F401
    from loopkit.parts.channels import Audit, Placebo, pay  # noqa: F401
    from loopkit.parts.detectors import rule  # noqa: F401
    from loopkit.parts.simple import SimpleGame  # noqa: F401
    from loopkit.probing import Probe, probe  # noqa: F401
    from loopkit.records import (  # noqa: F401
        Assessment,
        Decode,
        Dialogue,
        Done,
        Estimate,
        Message,
        Rollout,
        Slot,
        StepMetrics,
        Task,
        Turn,
    )
    from loopkit.registry.hookspecs import hookimpl  # noqa: F401
    from loopkit.rollouts.playing import play  # noqa: F401
    from loopkit.rollouts.referee import LocalReferee  # noqa: F401
    from loopkit.serving import RefereeClient, serve  # noqa: F401

_HOMES = {
    "parts.channels": ("Audit", "Placebo", "pay"),
    "checks": ("check_game", "check_intervention", "check_trainer"),
    "experiment.config": ("Experiment", "RunSpec"),
    "elsewhere.watched": ("watch",),
    "front.compared": ("compare",),
    "front.designed": ("study",),
    "front.evaluations": ("evaluate",),
    "front.experiments": ("run",),
    "front.reading": ("read",),
    "contracts": (
        "Draw", "ExploitDetector", "Game", "Options", "Policy", "PolicyRef", "Range", "Referee", "Reporting",
        "RewardChannel", "RolloutSet", "Tiny", "Trainer",
    ),
    "interventions": ("Intervention", "Monitor"),
    "parts.detectors": ("rule",),
    "parts.simple": ("SimpleGame",),
    "errors": ("LoopkitError",),
    "registry.hookspecs": ("hookimpl",),
    "rollouts.playing": ("play",),
    "probing": ("Probe", "probe"),
    "records": (
        "Assessment", "Decode", "Dialogue", "Done", "Estimate", "Message", "Rollout", "Slot", "StepMetrics", "Task",
        "Turn",
    ),
    "rollouts.referee": ("LocalReferee",),
    "serving": ("RefereeClient", "serve"),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

moved.install()

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'loopkit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"loopkit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
