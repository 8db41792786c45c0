"""What a game's own specimens earn, and which of them its detectors flag: their label is the kind they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from loopkit.checks.economics import expected
from loopkit.checks.specimens import KINDS, Specimen, sample, specimens_of
from loopkit.contracts import SPLITS, ExploitDetector, Game, RewardChannel
from loopkit.errors import CheckFailed
from loopkit.records import Scored
from loopkit.rollouts.scoring import Setup, score
from loopkit.stats.corrected import Labels

TASKS = 24
"""Tasks whose specimens are played, over all splits, as ``check_game`` does."""


@dataclass(frozen=True)
class Played:
    """Specimens (each under two seeds) and their scores, aligned."""

    specimens: Sequence[Specimen]
    scored: Sequence[Scored]

    @property
    def n(self) -> dict[str, int]:
        """Kind -> distinct specimens (one task's words), without those of which there is none."""
        kinds = {kind: {(s.rollout.task.id, s.words) for s in self.specimens if s.kind == kind} for kind in KINDS}
        return {kind: len(words) for kind, words in kinds.items() if words}

    def pays(self, name: str, channel: RewardChannel) -> dict[str, float]:
        """Kind -> mean pay, each draw of the channel's being met as often as it is made."""
        by_kind: dict[str, list[float]] = {}
        for one, reward in zip(self.specimens, expected(name, channel, self.scored), strict=True):
            by_kind.setdefault(one.kind, []).append(reward)
        return {kind: fmean(by_kind[kind]) for kind in KINDS if kind in by_kind}

    def labels(self, detector: str) -> tuple[Labels, int]:
        """What a detector says of exploit specimens and of the others, and on how many it abstains."""
        seen = {(s.kind == "exploit", s.rollout.task.id, s.words): scored.flags[detector]
                for s, scored in zip(self.specimens, self.scored, strict=True)}  # fmt: skip
        known = [(key[0], flag) for key, flag in seen.items() if flag is not None]
        exploits = [flag for exploit, flag in known if exploit]
        others = [flag for exploit, flag in known if not exploit]
        return Labels(len(exploits), sum(exploits), len(others), len(others) - sum(others)), len(seen) - len(known)


def play(
    game: Game, channels: Mapping[str, RewardChannel], detectors: Mapping[str, ExploitDetector], n_tasks: int = TASKS
) -> Played:
    """Play the specimens of at least ``n_tasks`` tasks. Raises CheckFailed where they are at fault."""
    tasks = [(split, t) for split in SPLITS for t in sample(game.tasks(split), max(1, n_tasks // 3), split)]
    played: list[Specimen] = []
    for complaint in specimens_of(game, tasks, played):
        raise CheckFailed(complaint)
    setup = Setup(game, channels["loophole"], channels, detectors)
    rollouts = [s.rollout for s in played]
    return Played(played, score(setup, rollouts, [0] * len(rollouts)))
