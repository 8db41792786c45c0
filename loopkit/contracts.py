"""The heart: what a game, a channel, a detector, a trainer, a policy and a referee promise one another.

Batched methods take (B,) and return (B,) in the same order. For games, channels and detectors the result for one
rollout does not depend on its batchmates, exactly; ``loopkit check`` proves it by splitting batches.
What pays (channels, from signals), what detects (detectors, from clues) and what is the goal (scores) never mix.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict

from loopkit.records import (
    Assessment,
    Dialogue,
    Done,
    Estimate,
    Json,
    Labelled,
    Message,
    Rollout,
    Slot,
    Task,
    Transcript,
    Turn,
)
from loopkit.system import code

if TYPE_CHECKING:
    from loopkit.parts.judges import Role

Range = tuple[float, float]
Split = Literal["train", "dev", "test"]
CORE_CLUES = frozenset({"asked", "said", "thoughts"})
"""The clues that the core adds: what was asked, and what was said."""
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
Draw = Callable[[str], float]
"""draw(purpose) -> a number in [0, 1), the same in both arms and however the rollouts arrived."""


class Options(BaseModel):
    """Base of every options model: strict, frozen, and a misspelt name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


PAYS_ONLY: dict[str, Any] = {"pays_only": True}
"""``json_schema_extra`` of an option that changes what is paid and nothing that is shown: warm-ups need not know it."""


class RewardChannel(BaseModel, ABC):
    """Turns signals into rewards. Its pydantic fields are its options; an arm's options make a copy."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    reads: ClassVar[frozenset[str]]
    """The signals it may read; the referee passes these and nothing else."""
    range: ClassVar[Range]
    """Every reward lies within; the referee refuses one that does not."""

    @abstractmethod
    def rewards(self, signals: Sequence[Mapping[str, float]], draws: Sequence[Draw]) -> list[float]:
        """(B,) signals and draws -> (B,) finite rewards."""


class ExploitDetector(BaseModel, ABC):
    """Says whether a rollout exploited. It never sees signals, rewards or the arm."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    reads: ClassVar[frozenset[str]]
    """The clues it may read. The core adds to any that ask "asked" (the opening messages), "said" (the answers, turn by
    turn) and "thoughts" (what stood before each answer; empty of a policy that does not think)."""
    bounds: ClassVar[Range] = (0.0, 1.0)
    """The range of ``rate``; a difference of shares has (-1, 1)."""
    asked_for: ClassVar[bool] = False
    """Whether it looks only where an experiment names it (``watch``, or the monitor of an arm)."""

    def fitted(self, game: Game) -> ExploitDetector:
        """The detector made ready for a game, such as fitted on its specimens; a pure function of both. Default: as it
        is. Called for other distributions' detectors, once a run. Raises UsageError where the game does not allow it.
        """
        return self

    @abstractmethod
    def flags(self, clues: Sequence[Mapping[str, Json]]) -> list[bool | None]:
        """(B,) clues -> (B,) flags; None abstains."""

    def rate(
        self, flags: Sequence[bool | None], clues: Sequence[Mapping[str, Json]], clusters: Sequence[str]
    ) -> Estimate | None:
        """The exploit rate with its interval, clusters as the unit. None where no rollout counts."""
        from loopkit.stats.rates import share

        return share(flags, clusters)


class SourceHash:
    """A class attribute that is a hash of the file that defines the class, and of what that imports beside it."""

    def __get__(self, game: object, cls: type) -> str:
        return code.of_class(cls)


@dataclass(frozen=True)
class Reporting:
    """What reports must know of a few games."""

    onset_detector: str | None = None
    """The detector that onset and domination use; None: the first. For a headline rate whose ceiling is below 1."""
    honest_score: str | None = None
    """The score of honest behaviour that a mitigation may kill together with the exploit; None: there is none."""
    observed_is_paid: bool | None = None
    """Whether score "observed" is the very number that channel "loophole" pays (then its rise is over-optimisation).
    None: it is, if the two were equal in every evaluated rollout."""
    unproven: str = ""
    """Why no exploit was shown beforehand, to a user who wrote no game; empty: what the checks say to its author."""
    blamed: str = ""
    """What such a user is told beside the complaints of the checks."""
    followed: str | None = None
    """The signal that is 1 where an answer had the format asked for; None: the game has none."""


@dataclass(frozen=True)
class Tiny:
    """What the embedded policy needs to learn a game."""

    settings: Mapping[str, Json] = field(default_factory=dict)
    """Defaults of a run on it, as ``--set`` keys ("run.steps", "trainer.learning_rate")."""
    warmup_options: Mapping[str, float] = field(default_factory=dict)
    """A curriculum: values of (numeric) options when a warm-up from random weights begins; they move to their own over
    its first half."""
    unshown: Mapping[str, Json] = field(default_factory=dict)
    """Options under which no demonstration exploits; empty: the game has none."""


@dataclass(frozen=True)
class Real:
    """What a pretrained model needs to play a game."""

    settings: Mapping[str, Json] = field(default_factory=dict)
    """Defaults of a run on any model but the embedded policy, as ``--set`` keys ("game.…", "run.…", "trainer.…").
    To be chosen on development seeds, by the untrained model's behaviour and the control arm's task score alone."""


class _Grouped:
    """A member of 0.1 that is part of a group now, readable for one release, with a warning."""

    def __init__(self, group: str, name: str) -> None:
        self.group, self.name = group, name

    def __get__(self, game: object, cls: type) -> Any:
        _warn(f"{self.group}.{self.name}")
        return getattr(getattr(cls if game is None else game, self.group), self.name)


def _warn(now: str) -> None:
    warnings.warn(
        f"this member of a game is now {now}; the old name goes with the next release.", DeprecationWarning, 3
    )


GROUPED = {
    "onset_detector": ("reporting", "onset_detector"), "honest_score": ("reporting", "honest_score"),
    "observed_is_paid": ("reporting", "observed_is_paid"), "tiny_settings": ("tiny", "settings"),
    "warmup_options": ("tiny", "warmup_options"),
}  # fmt: skip
"""Members of 0.1 -> the group that holds them, and their name there."""


class Game(ABC):
    """A loophole game. Stateless: a Rollout carries everything, as JSON.

    Subclasses set the class attributes, build ``channels`` and ``detectors`` (the first detector is the headline
    exploit rate), and implement ``tasks``, ``assess`` and ``specimens``.
    """

    _derived: ClassVar[set[str]] = set()
    """Which of ``signals`` and ``clues`` were not declared, and are read off the channels and detectors."""
    version: ClassVar[int | str] = cast(str, SourceHash())
    """Bumped when any score would change. Default: a hash of the code."""
    axis: ClassVar[Literal["specification", "robustness"]] = "specification"
    Options: ClassVar[type[BaseModel]] = Options
    signals: Mapping[str, Range]
    """Declared signals, name -> range. ``assess`` is held to them. Default: what the channels read, in [0, 1]."""
    clues: Mapping[str, str]
    """Declared clues, name -> meaning. Keys are disjoint from ``signals``. Default: what the detectors read."""
    channels: Mapping[str, RewardChannel]
    """"loophole", normally "control", and mitigations."""
    absent: Mapping[str, str] = {}
    """Channels that a game of these options lacks, name -> why, and the cure: what asking for one is answered."""
    detectors: Mapping[str, ExploitDetector]
    reporting: Reporting = Reporting()
    """What reports must know of few games: another onset detector, a score of honest behaviour, whose words."""
    margins: Mapping[str, float] = {}
    """How far is news, where it is not the default: "exploit", "task", "observed", as shares (0.1 is 10 points)."""
    tiny: Tiny = Tiny()
    """What the embedded policy needs to learn this game."""
    real: Real = Real()
    """What a pretrained model needs to play this game."""
    judge_roles: ClassVar[Mapping[str, Role]] = {}
    """The roles a model may judge in, name -> what is asked. A game without judges does without."""
    fresh: bool = False
    """Whether a reply may begin a fresh dialogue (``Message.fresh``), or its answer is not trained."""
    programs: ClassVar[bool] = False
    """Whether ``assess`` runs untrusted programs in ``loopkit.sandbox.shared()``: tried before a run, and recorded."""

    def __init_subclass__(cls, **named: Any) -> None:
        """Declare the signals and clues that a class with channels and detectors leaves undeclared."""
        super().__init_subclass__(**named)
        for old in GROUPED.keys() & vars(cls).keys():
            group, name = GROUPED[old]
            _warn(f"{group}.{name}")
            setattr(cls, group, replace(getattr(cls, group), **{name: vars(cls)[old]}))
            delattr(cls, old)
        derived = cls._derived = {n for n in ("signals", "clues") if getattr(cls, n, None) is None or n in cls._derived}
        derived -= vars(cls).keys()
        if "channels" in vars(cls) and "signals" in derived:
            reads = {name: channel for channel in cls.channels.values() for name in sorted(channel.reads)}
            cls.signals = {n: c.range if getattr(c, "pays", None) == n else (0.0, 1.0) for n, c in reads.items()}
        if "detectors" in vars(cls) and "clues" in derived:
            meanings = {
                name: detector_name
                for detector_name, detector in cls.detectors.items()
                for name in sorted(detector.reads)
            }
            cls.clues = {
                name: f"read by the detector {detector_name!r}"
                for name, detector_name in meanings.items()
                if name not in CORE_CLUES
            }

    def __init__(self, options: BaseModel | None = None, judges: Mapping[str, Policy] | None = None) -> None:
        self.options = self.Options() if options is None else options
        self.judges = dict(judges or {})

    @abstractmethod
    def tasks(self, split: Split) -> Sequence[Task]:
        """The split's tasks: same ids and order everywhere; splits share no prompt."""

    def reply(self, rollouts: Sequence[Rollout]) -> list[Message | Done]:
        """(B,) rollouts that just got a turn -> (B,) next message, or Done. Default: one turn."""
        return [Done() for _ in rollouts]

    @abstractmethod
    def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
        """(B,) finished rollouts -> (B,) assessments. The one expensive place: sandbox, judge, ROUGE."""

    @abstractmethod
    def specimens(self, task: Task, draw: Draw) -> Mapping[str, Sequence[Transcript]]:
        """Scripted transcripts: "honest" (failures too), "exploit" (may be empty), "null" (empty or garbage; without
        the key, loopkit plays its own)."""

    def labelled(self) -> Sequence[Labelled]:
        """Transcripts that a reader labelled, to measure detectors on (``loopkit.parts.data.read_labelled``).

        Default: none. They are never trained on, and no rule is tuned on them.
        """
        return ()

    def demonstrations(self, task: Task, draw: Draw) -> Transcript:
        """What the embedded policy is warmed up on. Default: 9 honest in 10, else an exploit if there is one."""
        by_kind = self.specimens(task, draw)
        kind = "exploit" if by_kind.get("exploit") and draw("demonstration kind") < 0.1 else "honest"
        return by_kind[kind][int(draw("demonstration") * len(by_kind[kind]))]


for _old, (_group, _name) in GROUPED.items():
    setattr(Game, _old, _Grouped(_group, _name))


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """Where a policy lies: a directory or hub id in Hugging Face layout, and perhaps a LoRA adapter directory."""

    path: str
    adapter: str | None = None
    dtype: str = "float32"
    """The format its weights are held in, "float32" or "bfloat16"; an adapter's are fp32 in either."""
    template_kwargs: Mapping[str, Json] | None = None
    """What its chat template is told besides the dialogue, such as {"enable_thinking": False}."""


class Policy(Protocol):
    """Anything that speaks. Its draws hash (seed, dialogue key, turn, "sample")."""

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        """(B,) dialogues -> (B,) turns, decoded as the last message's ``decode`` says."""
        ...


class Referee(Protocol):
    """Keeps the books: local, or the client of a served one. The same five verbs, the same answers."""

    n_steps: int
    prompts_per_step: int
    group_size: int

    def resume(self, step: int) -> None:
        """Every record from ``step`` on is dropped. A trainer's first call."""
        ...

    def slots(self, step: int) -> list[Slot]:
        """(P,) slots of a step, pure in (seed, step)."""
        ...

    def reply(self, ids: Sequence[str], n: Sequence[int], turns: Sequence[Turn]) -> list[Message | Done]:
        """(B,) rollout ids (slot key + "/" + a name), turn numbers from 0, and turns -> (B,) replies.

        The same (id, n) with the same text gets the same answer again; with another text it is an error.
        """
        ...

    def settle(self, ids: Sequence[str]) -> list[float]:
        """(B,) finished rollouts -> (B,) paid rewards. Idempotent; an unfinished rollout is an error."""
        ...

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        """Record a step. Missing and surplus rollouts are recorded by name. Only then save the checkpoint."""
        ...


class RolloutSet(Protocol):
    """Recorded dialogues to learn from: words only. Which ones is the run spec's business."""

    n_steps: int

    def resume(self, step: int) -> None: ...

    def batch(self, step: int) -> list[Dialogue]:
        """(P*G,) dialogues of a step, each ending in an assistant message; pure in (seed, step)."""
        ...

    def close(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None: ...


class Trainer(ABC):
    """Improves a policy. It never evaluates: the runner does that, from checkpoints."""

    Options: ClassVar[type[BaseModel]] = Options
    source: ClassVar[Literal["referee", "rollouts"]] = "referee"
    deterministic: ClassVar[bool] = False
    """Whether a killed and resumed run ends byte-identical to an uninterrupted one on the same machine."""
    budgets: ClassVar[bool] = False
    """Whether it plays as ``loopkit.rollouts.playing.play`` does, and so keeps ``run.thought_tokens``, ``run.markers``,
    fresh dialogues and answers that are not trained; else what needs them is refused."""
    stops: ClassVar[bool] = False
    """Whether it reads ``n_steps`` anew after each ``close``, so that an intervention may end training before."""
    alone: ClassVar[bool] = False
    """Whether a run wants every accelerator to itself: runs then go one after another unless ``--jobs`` says else."""

    def __init__(self, options: Any, start: PolicyRef, seed: int) -> None:
        self.options = options
        self.start = start
        self.seed = seed

    @abstractmethod
    def train(self, source: Any, workdir: Path) -> PolicyRef:
        """Learn from a Referee or RolloutSet (see ``source``); resume from ``workdir``; first call source.resume.

        Checkpoints are ``workdir/step-000040`` in Hugging Face layout; the last one is returned.
        """

    def preflight(self, source: Any, workdir: Path) -> None:
        """Raise now, before any policy is evaluated, what would stop ``train`` at once: an engine that is not there, or
        options that do not fit the source. Starts and writes nothing.
        """
        return

    def preview(self, source: Any, workdir: Path) -> Iterable[tuple[str, str]]:
        """(title, text) of what ``train`` would write and start elsewhere, for ``--dry-run``. Starts nothing."""
        return ()

    @classmethod
    def diagnose(cls, options: Any) -> Iterable[tuple[str, str, str]]:
        """(part, finding, problem and cure) for ``loopkit doctor --trainer``; without a problem the last is empty."""
        return ()
