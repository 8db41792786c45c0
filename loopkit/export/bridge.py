"""A game as another library plays it: tasks, replies and scores, by task id and the words said so far.

Exported environments call this; rewards, flags and scores are the game's own, computed as in a run. The dialogue is
played again through ``Game.reply`` from its words, so nothing has to be kept between calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from loopkit import seeding
from loopkit.contracts import SPLITS, Split
from loopkit.errors import UsageError, nearest
from loopkit.experiment.resolve import build_game, channel_of, channels_of, detectors_of
from loopkit.records import Json, Message, Rollout, Scored, Task, Turn
from loopkit.registry import plugins as registry
from loopkit.rollouts.scoring import PAID, TRIES, Setup, advance, score

MOST_TURNS = 64
"""Empty turns after which a game that goes on is left."""


class Unfinished(UsageError):
    """A dialogue that is not played to its end, so that it has no reward: a limit cut it, as a rule."""


@dataclass(frozen=True)
class Exported:
    """A game with its options and the channel that pays. ``version`` is the game's when it was exported.

    The game is made on first use, which raises UsageError where the one installed has another version.
    """

    game: str
    version: int | str
    options: Mapping[str, Json]
    channel: str = "loophole"
    channel_options: Mapping[str, Json] | None = None
    seed: int = 0
    """Keys the draws of games and channels, with the rollout's name."""
    beside: str | None = None
    """A file beside which the option ``data`` is looked up: rows travel with what was exported."""

    @cached_property
    def setup(self) -> Setup:
        plugins = registry.load()
        game = build_game(plugins, self.game, self._options)
        if type(game).version != self.version:
            raise UsageError(
                f"this was exported from version {self.version} of {self.game}, and {type(game).version} is installed: "
                "its scores may differ. Export it again, or install the loopkit it was made with."
            )
        others = {n: plugins.build(plugins.detectors(self.game)[n]) for n in detectors_of(plugins, game, self.game)}
        return Setup(
            game,
            channel_of(plugins, game, self.game, self.channel, self.channel_options or {}, "channel"),
            channels_of(plugins, game, self.game),
            {**game.detectors, **others},
        )

    @property
    def _options(self) -> dict[str, Json]:
        if self.beside is None or not self.options.get("data"):
            return dict(self.options)
        return {**self.options, "data": str(Path(self.beside).resolve().parent / str(self.options["data"]))}

    def tasks(self, split: Split) -> Sequence[Task]:
        """The split's tasks. Their messages may be shown; their secrets stay here."""
        if split not in SPLITS:
            raise UsageError(f"no split {split!r}. {nearest(split, SPLITS)}")
        return self.setup.game.tasks(split)

    def reply(self, split: Split, task: str, name: str, words: Sequence[str]) -> Message | None:
        """What the game answers to the last of the turns ``words`` (T,), or None where it is over.

        ``name`` tells rollouts of a task apart: it keys the draws, so the same name and words meet the same luck.
        """
        answer = self._played(split, task, name, words).steps[-1][1]
        return answer if isinstance(answer, Message) else None

    def score(self, split: Split, task: str, name: str, words: Sequence[str]) -> Scored:
        """A finished rollout, scored. Raises Unfinished for any other: that is not a reward of 0."""
        return self.score_all(split, [task], name, [words])[0]

    def score_all(self, split: Split, tasks: Sequence[str], name: str, words: Sequence[Sequence[str]]) -> list[Scored]:
        """(B,) tasks and the words said to them -> (B,) finished rollouts, scored in one batch. Raises as ``score``."""
        rollouts = [self._played(split, task, name, said) for task, said in zip(tasks, words, strict=True)]
        for task, rollout in zip(tasks, rollouts, strict=True):
            if not rollout.done:
                raise Unfinished(
                    f"{task!r} of {self.game} is not played to its end: the game waits for turn "
                    f"{len(rollout.steps) + 1}, so it has no reward. Play it through the exported environment, and "
                    "raise limits on turns and tokens."
                )
        return score(self.setup, rollouts, [0] * len(rollouts), TRIES)

    def numbers(self, scored: Scored) -> dict[str, float | None]:
        """All numbers of a rollout by name: ``score.*``, ``flag.*`` (1, 0, None abstains) and ``reward.*`` (shadow)."""
        out: dict[str, float | None] = {f"score.{n}": v for n, v in scored.assessment.scores.items()}
        out |= {f"flag.{n}": None if f is None else float(f) for n, f in scored.flags.items()}
        return out | {f"reward.{n}": v for n, v in scored.rewards.items() if n != PAID}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names that ``numbers`` has, of a rollout that says nothing."""
        split = next(s for s in SPLITS if self.tasks(s))
        return tuple(self.numbers(self.silence(split, self.tasks(split)[0].id)))

    def silence(self, split: Split, task: str) -> Scored:
        """What saying nothing earns: empty turns until the game is over. Raises Unfinished where it goes on."""
        words = [""]
        while self.reply(split, task, "silence", words) is not None and len(words) < MOST_TURNS:
            words.append("")
        return self.score(split, task, "silence", words)

    def valid(self, split: Split, task: str) -> bool | None:
        """Whether a task can be done: its best honest specimen is paid more than silence. None without specimens."""
        there = self._task(split, task)
        honest = self.setup.game.specimens(there, partial(seeding.uniform, "valid", task)).get("honest", ())
        if not honest:
            return None
        pays = [s.rewards[PAID] for s in self.score_all(split, [task] * len(honest), "valid", list(map(list, honest)))]
        return max(pays) > self.silence(split, task).rewards[PAID]

    @cached_property
    def _tasks(self) -> dict[tuple[str, str], Task]:
        return {}

    def _task(self, split: Split, id_: str) -> Task:
        if (split, id_) not in self._tasks:
            self._tasks.update({(split, t.id): t for t in self.tasks(split)})
        if (split, id_) not in self._tasks:
            raise UsageError(f"{self.game} has no task {id_!r} in split {split!r} with these options. Export it again.")
        return self._tasks[split, id_]

    def _played(self, split: Split, task: str, name: str, words: Sequence[str]) -> Rollout:
        rollout = Rollout(f"{split}/000000/{name}/{task}/0", self._task(split, task), seed=self.seed)
        for text in words:
            if rollout.done:
                raise UsageError(f"{task!r} of {self.game} is over after {len(rollout.steps)} turns; more were said.")
            (rollout,) = advance(self.setup.game, [rollout], [Turn(text)], TRIES)
        if not rollout.steps:
            raise UsageError(f"{task!r} of {self.game}: nothing was said yet.")
        return rollout
