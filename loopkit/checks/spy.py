"""What a checked trainer is given in place of a referee or a set of rollouts: it notes, fences, kills and loses."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from loopkit.checks.purity import Ledger
from loopkit.checks.specimens import Specimen, sample, specimens_of
from loopkit.errors import ContractError
from loopkit.records import Dialogue, StepMetrics
from loopkit.rollouts.scoring import Setup
from loopkit.serving import RefereeClient

SIZES = ("n_steps", "prompts_per_step", "group_size")
VERBS = ("resume", "slots", "reply", "settle", "kept", "close", "batch")


class Killed(BaseException):
    """Stands for kill -9: no ``except Exception`` catches it."""


class Spy:
    """A Referee, or a RolloutSet, that notes every call as (verb, step), and hides all that a trainer has no right to.

    ``kill`` = (step, "before") or (step, "after"): raises Killed inside that step's close, before or after the record.
    """

    def __init__(self, source: Any, kill: tuple[int, str] | None) -> None:
        self.__source, self.__kill = source, kill
        self.calls: list[tuple[str, int]] = []
        self.odd: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        source, kill = self.__source, self.__kill
        if name not in (*SIZES, *VERBS):
            self.odd.append(f"It looked at source.{name}. Use {', '.join((*SIZES, *VERBS[:-1]))} (or batch) alone.")
            raise AttributeError(name)
        value = getattr(source, name)
        if name in SIZES:
            return value

        def noted(*args: Any, **named: Any) -> Any:
            arguments = inspect.signature(value).bind(*args, **named).arguments
            about = next(iter(arguments.values()))  # a step, or ids
            parts = [] if isinstance(about, int) else [id_.split("/") for id_ in about]
            steps = {about} if isinstance(about, int) else {int(p[1]) for p in parts if len(p) > 2 and p[1].isdigit()}
            self.calls += [(name, step) for step in sorted(steps)]
            if name != "close":
                return value(*args, **named)
            numbers = {**arguments["metrics"], **(arguments.get("timings") or {})}
            if odd := {k: v for k, v in numbers.items() if not isinstance(v, (int, float)) or not math.isfinite(v)}:
                self.odd.append(f"close({about}) was given {odd!r:.60}. Pass finite numbers, as float(...) makes them.")
            if kill == (about, "before"):
                raise Killed
            value(*args, **named)
            if kill == (about, "after"):
                raise Killed

        return noted


class Lossy(RefereeClient):
    """A client whose every answer is lost once, and asked for again."""

    def _exchange(self, verb: str, data: bytes) -> tuple[int, bytes]:
        super()._exchange(verb, data)
        return super()._exchange(verb, data)


class SpecimenSet:
    """A RolloutSet of a game's honest specimens, some a step."""

    def __init__(self, setup: Setup, n_steps: int, ledger: Ledger) -> None:
        self.n_steps, self.ledger = n_steps, ledger
        played: list[Specimen] = []
        tasks = sample(setup.game.tasks("train"), 8, "train")
        for complaint in specimens_of(setup.game, [("train", t) for t in tasks], played):
            raise ContractError(complaint)
        self.rollouts = [s.rollout for s in played if s.kind == "honest"]

    def resume(self, step: int) -> None:
        self.ledger.drop(step)

    def batch(self, step: int) -> list[Dialogue]:
        chosen = self.rollouts[step :: self.n_steps]
        return [Dialogue(r.id, tuple(replace(m, state=None) for m in r.messages())) for r in chosen]

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        self.ledger.record(StepMetrics(step, 0, {}, {}, {}, None, dict(metrics)), [], timings or {})
