"""What passes between the parts: frozen records, JSON in and out. No behaviour beyond reading themselves.

Read them with the picture in docs/architecture.md:
Task -> Rollout (turns and replies) -> Assessment -> rewards, flags, scores -> StepMetrics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from loopkit import seeding

Json = Any
"""None, bool, int, float, str, and lists and string-keyed dicts of these."""

Transcript = Sequence[str]
"""The policy's words, turn by turn; a specimen or a demonstration is played through ``Game.reply``."""


@dataclass(frozen=True, slots=True)
class Decode:
    """How the answer to a message is decoded. ``temperature`` 0 is greedy; ``max_tokens`` counts policy tokens.

    ``top_k`` likeliest tokens are left to draw from (0: all), then the likeliest that together reach ``top_p``.
    """

    temperature: float = 1.0
    max_tokens: int = 64
    top_p: float = 1.0
    top_k: int = 0
    thought_tokens: int | None = None
    """The longest thoughts, apart from ``max_tokens``, which is then the answer's. None: one limit for both."""
    markers: tuple[str, str] | None = None
    """What opens and closes thoughts, besides the known ones (``loopkit.rollouts.thoughts.MARKERS``)."""
    trained: bool = True
    """Whether a trainer learns from the answer. One that is not trained is decoded as the game says, whatever the run
    sets."""

    @property
    def truncated(self) -> bool:
        """Whether some tokens are never drawn."""
        return self.top_p < 1 or self.top_k > 0

    def wire(self) -> dict[str, Json]:
        """As JSON; what truncates only where something does, and the rest where it is set, as before there was any."""
        always = (*ALWAYS, "top_p", "top_k") if self.truncated else ALWAYS
        default = dataclasses.asdict(Decode())
        return {k: v for k, v in dataclasses.asdict(self).items() if k in always or v != default[k]}

    @staticmethod
    def read(data: Mapping[str, Json]) -> Decode:
        markers = data.get("markers")
        return Decode(**{**data, "markers": markers and (markers[0], markers[1])})


ALWAYS = ("temperature", "max_tokens")


@dataclass(frozen=True, slots=True)
class Message:
    """One message shown to the policy. ``state`` stays with the referee; ``decode`` governs the answer to it."""

    role: str
    content: str
    decode: Decode | None = None
    state: Json = None
    fresh: tuple[Message, ...] | None = None
    """What stands before it in a new dialogue, in which nothing of the one so far is seen. None: it goes on."""

    def wire(self) -> dict[str, Json]:
        """The part a policy or trainer may see: everything but ``state``."""
        out: dict[str, Json] = {"role": self.role, "content": self.content}
        if self.decode is not None:
            out["decode"] = self.decode.wire()
        if self.fresh is not None:
            out["fresh"] = [message.wire() for message in self.fresh]
        return out

    @staticmethod
    def read(data: Mapping[str, Json]) -> Message:
        decode = data.get("decode")
        fresh = data.get("fresh")
        before = None if fresh is None else tuple(map(Message.read, fresh))
        return Message(
            data["role"], data["content"], Decode.read(decode) if decode else None, data.get("state"), before
        )

    def after(self, dialogue: Sequence[Message], answer: str) -> list[Message]:
        """The dialogue that it ends: what was said so far, an answer, and it; or, where it is fresh, its own."""
        return [*(self.fresh if self.fresh is not None else (*dialogue, Message("assistant", answer))), self]


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a run asks for in place of its game, in every prompt; None: as the game asks. ``system`` is put first."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    system: str | None = None
    thought_tokens: int | None = None
    markers: tuple[str, str] | None = None

    def shown(self, message: Message) -> Message:
        """A message as the policy sees it: without state, and decoded as the run says, if its answer is trained."""
        changed: dict[str, Any] = {
            name: value
            for name in ("max_tokens", "temperature", "top_p", "top_k", "thought_tokens", "markers")
            if (value := getattr(self, name)) is not None
        }
        decode = message.decode
        if changed and (decode is None or decode.trained):
            decode = dataclasses.replace(decode or Decode(), **changed)
        return dataclasses.replace(message, state=None, decode=decode)

    def opening(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The first messages of a dialogue, after the run's system message, which goes before the game's own."""
        first, *rest = messages
        if self.system is None:
            return tuple(map(self.shown, messages))
        if first.role == "system":
            first = dataclasses.replace(first, content=f"{self.system}\n\n{first.content}")
            return tuple(map(self.shown, (first, *rest)))
        return (Message("system", self.system), *map(self.shown, messages))


AS_ASKED = Overrides()
"""Nothing in place of what the game asks for."""


@dataclass(frozen=True, slots=True)
class Done:
    """The game is over for this rollout."""

    state: Json = None


@dataclass(frozen=True, slots=True)
class Task:
    """One problem. ``secret`` (answers, tests) never leaves the referee.

    ``cluster`` (default: the id) marks tasks that belong together, such as a style pair: they share a step and a
    split, and are the unit of resampling.
    """

    id: str
    messages: tuple[Message, ...]
    public: Json = None
    secret: Json = None
    cluster: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", tuple(self.messages))
        if not self.cluster:
            object.__setattr__(self, "cluster", self.id)


@dataclass(frozen=True, slots=True)
class Turn:
    """What the policy said once: ``text`` is its answer. ``ids`` and ``logprobs`` are (T,), ``prompt_ids`` (L,); None
    for text-only clients.

    ``ids`` ends with the end-of-turn token when ``finish`` is "stop"; ``logprobs`` are natural logarithms under the
    sampling temperature. Each turn is its own training segment, so a template that rewrites history breaks no mask.
    """

    text: str
    finish: Literal["stop", "length"] = "stop"
    prompt_ids: tuple[int, ...] | None = None
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    temperature: float = 1.0
    thoughts: str | None = None
    """What it thought before the answer, markers and all: ``thoughts + text`` is all it said. None: not parted yet."""
    inserted: tuple[int, int] | None = None
    """Where in ``ids`` tokens were put in that close thoughts whose budget had ended: they were not sampled, their
    ``logprobs`` are 0, and no gradient is theirs. An empty range: it had not. None: there was no such budget."""
    trained: bool = True
    """Whether a trainer may learn from it (``Decode.trained``)."""

    @property
    def said(self) -> str:
        """Thoughts and answer together, as they were said."""
        return (self.thoughts or "") + self.text


Step = tuple[Turn, "Message | Done"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One played task. ``id`` = slot key + "/" + a name the client picked; ``seed`` keys the game's draws."""

    id: str
    task: Task
    steps: tuple[Step, ...] = ()
    seed: int = 0

    @property
    def slot(self) -> str:
        """The slot key, "split/step/slot/task id"."""
        return self.id.rpartition("/")[0]

    @property
    def words(self) -> tuple[str, ...]:
        """The policy's answers, turn by turn."""
        return tuple(turn.text for turn, _ in self.steps)

    @property
    def thoughts(self) -> tuple[str, ...]:
        """What it thought before each answer; empty strings of a policy that does not think."""
        return tuple(turn.thoughts or "" for turn, _ in self.steps)

    @property
    def said(self) -> tuple[str, ...]:
        """All it said, thoughts and answers, turn by turn: what makes two rollouts equal, and keys their draws."""
        return tuple(turn.said for turn, _ in self.steps)

    @property
    def done(self) -> bool:
        return bool(self.steps) and isinstance(self.steps[-1][1], Done)

    @property
    def state(self) -> Json:
        """The state the game left with its last reply (None before the first)."""
        return self.steps[-1][1].state if self.steps else None

    def messages(self, whole: bool = False) -> list[Message]:
        """The dialogue so far, up to where another one begins, with the policy's answers as assistant messages;
        ``whole``: with its thoughts, too."""
        out = list(self.task.messages)
        for turn, reply in self.steps:
            out.append(Message("assistant", turn.said if whole else turn.text))
            if isinstance(reply, Message):
                if reply.fresh is not None:
                    break
                out.append(reply)
        return out

    def draw(self, purpose: str) -> float:
        """The game's own draw in [0, 1): keyed by (seed, slot, all said so far, purpose), never by arm or name."""
        return seeding.uniform(self.seed, self.slot, list(self.said), purpose)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the game says happened. Keys of ``signals`` and ``clues`` are disjoint and declared by the game.

    ``scores``: "task" is the main-task metric in [0, 1]; "observed" is what the operator's dashboard shows (None
    where they do not look); others are columns. ``signals``: all a channel may read. ``clues``: all a detector may.
    """

    scores: Mapping[str, float | None]
    signals: Mapping[str, float]
    clues: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A transcript and what a reader says of it: what detectors are measured on.

    ``flags``: by detector, what it should say (None: abstain); one that is left out is not measured here.
    ``classes``: the same for clues of few values, such as a judge's verdict.
    """

    task: Task
    words: tuple[str, ...]
    flags: Mapping[str, bool | None]
    classes: Mapping[str, str]
    source: Literal["written", "sampled"]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """A finished rollout with its scores, rewards and flags. ``occurrence`` counts equal rollouts of a slot, from 0."""

    rollout: Rollout
    occurrence: int
    assessment: Assessment
    rewards: Mapping[str, float]
    """By channel at its defaults (shadow), and "paid": the paying channel at the arm's own options."""
    flags: Mapping[str, bool | None]

    @property
    def order(self) -> tuple[str, tuple[str, ...], int]:
        """Records are sorted by this, so the order of arrival leaves no trace."""
        return (self.rollout.slot, self.rollout.said, self.occurrence)


@dataclass(frozen=True, slots=True)
class Slot:
    """All a trainer gets before it plays: a key and the opening messages (without state)."""

    key: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What a policy is asked to continue, or (ending in an assistant message) a recorded one to learn from.

    ``key`` names the dialogue for the policy's draws: hash of (seed, key, turn, "sample").
    """

    key: str
    messages: tuple[Message, ...]

    @property
    def turn(self) -> int:
        """Number of turns the policy has already spoken."""
        return sum(m.role == "assistant" for m in self.messages)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate or difference with its 95 % interval. ``n`` counts rollouts, ``clusters`` independent units.

    ``low``/``high`` are None when the interval is withheld, and ``method`` then says why.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int
    method: str

    def json(self) -> dict[str, Json]:
        return dataclasses.asdict(self)

    @staticmethod
    def read(data: Mapping[str, Json]) -> Estimate:
        return Estimate(**data)


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One line of steps.jsonl. Rewards are means over rollouts, by channel; rates are the detectors' estimates."""

    step: int
    n: int
    rewards: Mapping[str, float]
    scores: Mapping[str, float | None]
    rates: Mapping[str, Estimate | None]
    mixed_groups: float | None
    """Share of slots whose paid rewards differ within the group: where a group-relative trainer can learn."""
    trainer: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    kept: float | None = None
    """Share of rollouts that are learned from, where an intervention drops some; else None, and not written."""

    def json(self) -> dict[str, Json]:
        out = dataclasses.asdict(self)
        if self.kept is None:
            del out["kept"]
        out["missing"], out["surplus"] = list(self.missing), list(self.surplus)
        return out
