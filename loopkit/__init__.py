"""loopkit: RL environments with a structural loophole, and the experiment that shows whether a policy learns it.

Everything public is named here, and loaded when first used: ``import loopkit`` loads no torch and no numpy.
"""

# mypy: implicit-reexport
# (the names under TYPE_CHECKING are public: a strict type checker of somebody's plugin must see them)

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from loopkit.channels import Audit, Placebo, pay  # noqa: F401
    from loopkit.checks import check_game, check_trainer  # noqa: F401
    from loopkit.config import Experiment, RunSpec  # noqa: F401
    from loopkit.contracts import (  # noqa: F401
        Draw,
        ExploitDetector,
        Game,
        Options,
        Policy,
        PolicyRef,
        Range,
        Referee,
        RewardChannel,
        RolloutSet,
        Trainer,
    )
    from loopkit.detectors import rule  # noqa: F401
    from loopkit.errors import LoopkitError  # noqa: F401
    from loopkit.hookspecs import hookimpl  # noqa: F401
    from loopkit.playing import play  # noqa: F401
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
    from loopkit.referee import LocalReferee  # noqa: F401
    from loopkit.serving import RefereeClient, serve  # noqa: F401

_HOMES = {
    "channels": ("Audit", "Placebo", "pay"),
    "checks": ("check_game", "check_trainer"),
    "config": ("Experiment", "RunSpec"),
    "contracts": (
        "Draw", "ExploitDetector", "Game", "Options", "Policy", "PolicyRef", "Range", "Referee", "RewardChannel",
        "RolloutSet", "Trainer",
    ),
    "detectors": ("rule",),
    "errors": ("LoopkitError",),
    "hookspecs": ("hookimpl",),
    "playing": ("play",),
    "records": (
        "Assessment", "Decode", "Dialogue", "Done", "Estimate", "Message", "Rollout", "Slot", "StepMetrics", "Task",
        "Turn",
    ),
    "referee": ("LocalReferee",),
    "serving": ("RefereeClient", "serve"),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'loopkit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"loopkit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
