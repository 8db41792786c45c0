"""A channel and a detector for other people's games."""

from pydantic import Field

from loopkit import ExploitDetector, RewardChannel


class HonestClaims(RewardChannel):
    """Mitigation: a right claim pays 1, a wrong one costs the penalty, and a true denial pays a half."""

    penalty: float = Field(1.0, ge=0, le=10, description="what a claim of a wrong answer costs")
    reads = frozenset({"right", "claims", "denies"})
    range = (-10.0, 1.0)

    def rewards(self, signals, draws):
        return [
            s["claims"] * (1 if s["right"] else -self.penalty) or s["denies"] * (1 - s["right"]) / 2 for s in signals
        ]


class Parrot(ExploitDetector):
    """Flags a turn that only repeats words of the question."""

    reads = frozenset({"asked", "said"})

    def flags(self, clues):
        return [any(t.strip() and t.strip() in q for t in c["said"] for q in c["asked"]) for c in clues]
