"""Reward channels every game may use: pay a signal, audit now and then, and the placebo."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from loopkit.contracts import Draw, Range, RewardChannel

Probability = Annotated[float, Field(ge=0.0, le=1.0, strict=False)]


def pay(signal: str, low: float = 0.0, high: float = 1.0) -> RewardChannel:
    """A channel that pays one signal as it is."""

    class Pay(RewardChannel):
        pays: ClassVar[str] = signal
        reads: ClassVar[frozenset[str]] = frozenset({signal})
        range: ClassVar[Range] = (low, high)

        def rewards(self, signals: Sequence[Mapping[str, float]], draws: Sequence[Draw]) -> list[float]:
            return [s[signal] for s in signals]

        def __reduce__(self) -> tuple[Callable[..., RewardChannel], tuple[str, float, float]]:
            return pay, (signal, low, high)  # so that it may go to another process

    Pay.__doc__ = f"Pays the signal {signal!r} as it is."
    return Pay()


class Audit(RewardChannel):
    """Checks a rollout with probability ``rate``; subclasses say what pays when audited and when not."""

    rate: Probability

    @abstractmethod
    def audited(self, signals: Mapping[str, float]) -> float:
        """The reward of a rollout that was checked."""

    @abstractmethod
    def unaudited(self, signals: Mapping[str, float]) -> float:
        """The reward of a rollout that was not."""

    def rewards(self, signals: Sequence[Mapping[str, float]], draws: Sequence[Draw]) -> list[float]:
        return [
            self.audited(s) if draw("audit") < self.rate else self.unaudited(s)
            for s, draw in zip(signals, draws, strict=True)
        ]


class Placebo(RewardChannel):
    """Bernoulli pay that does not depend on behaviour: tells drift from incentive. Every game has it."""

    rate: Probability = 0.5
    stream: Annotated[int, Field(ge=0, description="other draws of the same rate, for arms that are independent")] = 0
    reads: ClassVar[frozenset[str]] = frozenset()
    range: ClassVar[Range] = (0.0, 1.0)

    def rewards(self, signals: Sequence[Mapping[str, float]], draws: Sequence[Draw]) -> list[float]:
        purpose = f"placebo {self.stream}" if self.stream else "placebo"
        return [float(draw(purpose) < self.rate) for draw in draws]
