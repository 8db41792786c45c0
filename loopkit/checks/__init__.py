"""Conformance: proves a game before any gradient, and a trainer before any long run. Every complaint names its cure.

Games are held to ``games.py`` (which takes its checks from ``declared.py``, ``purity.py`` and ``economics.py``),
trainers to ``trainers.py``, interventions to ``interventions.py``; ``specimens.py`` plays a game's scripts for both,
``fresh.py`` asks a new process.
"""

from loopkit.checks.games import check_game
from loopkit.checks.interventions import check_intervention
from loopkit.checks.report import Finding, Report
from loopkit.checks.trainers import check_trainer

__all__ = ["Finding", "Report", "check_game", "check_intervention", "check_trainer"]
