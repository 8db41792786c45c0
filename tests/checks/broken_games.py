"""Games broken in one way each, by name: the game, the check that must catch it, and a part of what it must say."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import ConfigDict

from loopkit.contracts import ExploitDetector, Game, Options, Reporting, RewardChannel, Split, Tiny
from loopkit.parts.channels import pay
from loopkit.parts.detectors import rule
from loopkit.records import Assessment, Done, Estimate, Message, Rollout, Task
from tests.toys import Checked, Doubling


class Broken(Doubling):
    """Doubling, with any part replaced."""

    @staticmethod
    def with_(**parts: Any) -> Game:
        return type("Broken", (Doubling,), parts)(Options())


def tasks(change: Any) -> Game:
    return Broken.with_(tasks=lambda self, split: [change(t, split) for t in Doubling.tasks(self, split)])


def assessed(change: Any) -> Game:
    """``change(rollout, assessment)`` replaces each assessment."""
    return Broken.with_(
        assess=lambda self, rs: [change(r, a) for r, a in zip(rs, Doubling.assess(self, rs), strict=True)]
    )


def specimens(**kinds: Any) -> Game:
    return Broken.with_(specimens=lambda self, t, draw: {**Doubling.specimens(self, t, draw), **kinds})


def replies(change: Any) -> Game:
    """``change(rollout, reply)`` replaces each reply."""
    return Broken.with_(
        reply=lambda self, rs: [change(r, a) for r, a in zip(rs, Doubling.reply(self, rs), strict=True)]
    )


def channel(rewards: Any, name: str = "audit", low: float = 0.0, high: float = 1.0) -> Game:

    class Odd(RewardChannel):
        reads: ClassVar[frozenset[str]] = frozenset({"right"})
        range: ClassVar[tuple[float, float]] = (low, high)

        def rewards(self, signals: Any, draws: Any) -> Any:
            return rewards(self, signals, draws)

    return Broken.with_(channels={**Doubling.channels, name: Odd()})


def detector(flags: Any, rate: Any = None) -> Game:
    class Odd(ExploitDetector):
        reads: ClassVar[frozenset[str]] = frozenset({"false_claim", "said"})

        def flags(self, clues: Any) -> Any:
            return flags(self, clues)

    class Rated(Odd):
        def rate(self, flags: Any, clues: Any, clusters: Any) -> Any:
            return rate(flags)

    return Broken.with_(detectors={"odd": Rated() if rate else Odd()})


def same(self: Any, clues: Any) -> list[bool]:
    return [bool(c["false_claim"]) for c in clues]


class Counts:
    """A game's forbidden memory."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> int:
        self.n += 1
        return self.n


def forgetful(count: Counts) -> Game:
    return Broken.with_(tasks=lambda self, split: Doubling.tasks(self, split)[:: 1 if count() % 2 else -1])


def rewrites(count: Counts) -> Game:
    return tasks(lambda t, split: replace(t, public={"i": t.public["i"], "n": count()}))


def batch_mean(self: Any, rollouts: Sequence[Rollout]) -> list[Assessment]:
    found = Doubling.assess(self, rollouts)
    mean = sum(a.signals["right"] for a in found) / len(found)
    return [replace(a, signals={**a.signals, "right": mean}) for a in found]


def alone(self: Any, rollouts: Sequence[Rollout]) -> list[Assessment]:
    found = Doubling.assess(self, rollouts)
    return [replace(a, scores={**a.scores, "alone": float(len(found) == 1)}) for a in found]


def scribbles(r: Rollout, a: Assessment) -> Assessment:
    r.task.public["seen"] = r.task.public.get("seen", 0) + 1
    return a


def first_only(self: Any, rollouts: Sequence[Rollout]) -> list[Message | Done]:
    found = Doubling.reply(self, rollouts)
    return [replace(m, content=f"{len(found)}?") if isinstance(m, Message) else m for m in found]


def crash(r: Rollout, a: Assessment) -> Assessment:
    return a if r.words[0] in ("", "?!") else replace(a, scores={**a.scores, "big": float(float(r.words[0]) > 9)})


def only_in_batch(self: Any, rollouts: Sequence[Rollout]) -> list[Assessment]:
    if len(rollouts) > 1:
        raise RuntimeError("no room")
    return Doubling.assess(self, rollouts)


def shown(t: Task, split: str) -> Task:
    return replace(t, messages=(*t.messages, Message("system", f"The key is {t.secret['answer']}.")))


def echo(r: Rollout, a: Message | Done) -> Message | Done:
    return replace(a, content=f"It is {r.task.secret['answer']}. Sure?") if isinstance(a, Message) else a


def move(t: Task, split: str) -> Task:
    i = t.public["i"]
    return replace(t, messages=(Message("user", f"Double {i % 1000}."),))


class Loose(Options):
    model_config = ConfigDict(extra="ignore", frozen=False)


class Tupled(Options):
    sizes: tuple[int, ...] = (1, 2)


class Unfrozen(Checked):
    model_config = ConfigDict(frozen=False)


class Kind(str):
    """A string that knows more than JSON does."""

    __slots__ = ()

    def doubled(self) -> int:
        return 2 * int(self)


rewrites_kind = tasks(lambda t, s: replace(t, public={"i": t.public["i"], "n": Kind(t.public["i"])}))


def by_kind(self: Any, rollouts: Sequence[Rollout]) -> list[Assessment]:
    """Trusts that what it put into ``public`` is still the object it put there."""
    return [
        replace(a, scores={**a.scores, "kind": float(isinstance(r.task.public["n"], Kind))})
        for r, a in zip(rollouts, Doubling.assess(self, rollouts), strict=True)
    ]


SEEN: dict[int, Task] = {}


def by_identity(self: Any, rollouts: Sequence[Rollout]) -> list[Message | Done]:
    found = Doubling.reply(self, rollouts)
    return [
        replace(m, content="Again?") if isinstance(m, Message) and id(r.task) not in SEEN else m
        for r, m in zip(rollouts, found, strict=True)
    ]


def remembered(self: Any, split: Split) -> list[Task]:
    made: list[Task] = self.__dict__.setdefault(split, Doubling.tasks(self, split))
    SEEN.update({id(t): t for t in made})
    return made


def unique_words(self: Any, rollouts: Sequence[Rollout]) -> list[Assessment]:
    """Scores equal rollouts once, and gives the later ones no claim."""
    said: set[tuple[str, tuple[str, ...]]] = set()
    out = []
    for r, a in zip(rollouts, Doubling.assess(self, rollouts), strict=True):
        key = (r.slot, r.words)
        out.append(replace(a, scores={**a.scores, "task": 0.0}) if key in said else a)
        said.add(key)
    return out


def sees_the_name(r: Rollout, a: Assessment) -> Assessment:
    return replace(a, scores={**a.scores, "named": float("other" in r.id.rpartition("/")[2])})


def ragged(self: Any, split: Split) -> list[Task]:
    """Six clusters of five and one of seven."""
    made = Doubling.tasks(self, split)
    return [replace(t, cluster=f"{split}{max(0, i - 2) // 5}") for i, t in enumerate(made[:37])]


def late_secret(t: Task, split: str) -> Task:
    return shown(t, split) if t.public["i"] == 2033 else t


def told_to_garbage(r: Rollout, a: Message | Done) -> Message | Done:
    hint = isinstance(a, Message) and len(r.words[0]) > 300
    return replace(a, content=f"{r.task.secret['answer']}?") if hint and isinstance(a, Message) else a


def odd_state(r: Rollout, a: Message | Done) -> Message | Done:
    return replace(a, state={1, 2}) if len(r.words[0]) > 300 else a


class HashOrder(Doubling):
    """Orders its tasks by hash(): another order in each process."""

    def tasks(self, split: Split) -> list[Task]:
        return sorted(super().tasks(split), key=lambda t: hash(t.id))


class SetOrder(Doubling):
    """Keeps words in a clue in the order of a set, of so many that two processes hardly agree by chance."""

    clues: ClassVar[Mapping[str, str]] = {**Doubling.clues, "words": "all words said"}

    def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
        return [
            replace(a, clues={**a.clues, "words": list({*r.words, *map(str, range(64))})})
            for r, a in zip(rollouts, super().assess(rollouts), strict=True)
        ]


NONCE = random.SystemRandom().random()


class Entropy(Doubling):
    """Draws its specimens from a number that each process draws for itself."""

    def specimens(self, task: Task, draw: Any) -> Any:
        return {**super().specimens(task, draw), "null": [("", str(NONCE))]}


CONFIGURED: list[int] = []
"""Filled by who checks these games, and by nobody in a new process."""


class Configured(Doubling):
    """Works only where somebody filled a global first."""

    def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
        assert CONFIGURED, "not configured"
        return super().assess(rollouts)


BROKEN: dict[str, tuple[Game, str, str]] = {
    # what it declares
    "no version": (Broken.with_(version=None), "declared", "no version"),
    "no such axis": (Broken.with_(axis="luck"), "declared", "axis is unknown"),
    "column taken": (Broken.with_(channels={**Doubling.channels, "paid": pay("right")}), "declared", "['paid'] are"),
    "own placebo": (Broken.with_(channels={**Doubling.channels, "placebo": pay("right")}), "declared", "['placebo']"),
    "name with a comma": (
        Broken.with_(channels={**Doubling.channels, "a,b": pay("right")}), "declared", "['a,b'] cannot be named",
    ),
    "misspelt setting": (Broken.with_(tiny=Tiny(settings={"run.stesp": 3})), "declared", "has 'run.stesp'"),
    "impossible setting": (Broken.with_(tiny=Tiny(settings={"run.steps": 0})), "declared", "an impossible 'run.steps'"),
    # options
    "odd options": (Broken.with_(Options=dict), "options", "not a pydantic model"),
    "loose options": (Broken.with_(Options=Loose), "options", "extra='ignore', frozen=False"),
    "options of a tuple": (
        type("Broken", (Doubling,), {"Options": Tupled})(Tupled()), "options", "cannot be read back from run.toml",
    ),
    "unfrozen channel": (
        Broken.with_(channels={**Doubling.channels, "audit": Unfrozen(rate=0.4)}), "options", "Unfrozen ('audit') has",
    ),
    "signal is clue": (
        Broken.with_(clues={**Doubling.clues, "right": "the answer is right"}), "declared", "['right'] are signals and",
    ),
    "core's clue": (Broken.with_(clues={**Doubling.clues, "said": "words"}), "declared", "['said'] are the core's own"),
    "no loophole": (Broken.with_(channels={"control": Checked(rate=1.0)}), "declared", "no channel 'loophole'"),
    "no detector": (Broken.with_(detectors={}), "declared", "There is no detector"),
    "no onset": (Broken.with_(reporting=Reporting(onset_detector="nobody")), "declared", "'nobody' is not a detector"),
    "signal's range": (Broken.with_(signals={**Doubling.signals, "right": (1, 0)}), "declared", "signal 'right' is [1"),
    "channel's range": (channel(None, high=float("inf")), "declared", "channel 'audit' is [0.0, inf]"),
    "unknown signal": (
        Broken.with_(channels={**Doubling.channels, "x": pay("shine")}), "declared", "undeclared signals ['shine']",
    ),
    "unknown clue": (Broken.with_(detectors={"x": rule("smell")}), "declared", "undeclared clues ['smell']"),
    "channels raise": (Broken.with_(channels=property(lambda self: self.nowhere)), "declared", "AttributeError"),
    # tasks
    "empty split": (
        Broken.with_(tasks=lambda self, s: [] if s == "dev" else Doubling.tasks(self, s)),
        "tasks", "'dev' has no tasks",
    ),
    "doubled id": (tasks(lambda t, s: replace(t, id="t")), "tasks", "several tasks of one id: ['t']"),
    "other order": (forgetful(Counts()), "tasks", "other ids, or another order"),
    "other contents": (rewrites(Counts()), "tasks", "other contents when asked again"),
    "no messages": (tasks(lambda t, s: replace(t, messages=())), "tasks", "has no messages"),
    "tuple in public": (tasks(lambda t, s: replace(t, public={"i": 1, "p": (1,)})), "tasks", "public of task 't"),
    "set in secret": (tasks(lambda t, s: replace(t, secret={1, 2})), "tasks", "secret of task 't"),
    "NaN in state": (
        tasks(lambda t, s: replace(t, messages=(replace(t.messages[0], state=float("nan")),))),
        "tasks", "state of message",
    ),
    "lone surrogate": (
        tasks(lambda t, s: replace(t, messages=(replace(t.messages[0], content="\ud800"), *t.messages))),
        "tasks", "no file can hold",
    ),
    "prompt in two splits": (tasks(move), "tasks", "'train' and 'dev' share prompts"),
    "cluster in two splits": (tasks(lambda t, s: replace(t, cluster="c")), "tasks", "share clusters ['c']"),
    "tasks raise": (tasks(lambda t, s: t.public["j"]), "tasks", "KeyError: 'j' (raised at broken_games.py"),
    # secrets
    "secret in prompt": (tasks(shown), "secrets", "opening messages"),
    "secret in id": (tasks(lambda t, s: replace(t, id=t.secret["answer"])), "secrets", "its id or"),
    "secret in reply": (replies(echo), "secrets", "in the reply to"),
    "secret in one prompt of many": (tasks(late_secret), "secrets", "Task 't2033' shows its secret"),
    "secret told to garbage": (replies(told_to_garbage), "secrets", "in the reply to ('999"),
    # specimens and turns
    "no honest": (specimens(honest=[]), "specimens", "no honest specimen"),
    "unknown kind": (specimens(sly=[("1", "2")]), "specimens", "unknown kinds ['sly']"),
    "bare string": (specimens(exploit=["12"]), "specimens", "Return a tuple of strings"),
    "too few turns": (specimens(exploit=[("1",)]), "specimens", "too few turns"),
    "too many turns": (specimens(null=[("", "", "")]), "specimens", "too many turns"),
    "specimens vary": (
        Broken.with_(specimens=lambda self, t, d: {"honest": [(str(random.random()), "No")]}),
        "specimens", "differ when",
    ),
    "short demonstration": (Broken.with_(demonstrations=lambda self, t, d: ("1",)), "specimens", "(demonstration)"),
    "demonstration varies": (
        Broken.with_(demonstrations=lambda self, t, d: (str(random.random()), "No")), "specimens", "differs when",
    ),
    "odd state": (replies(lambda r, a: replace(a, state=(1, 2))), "specimens", "does not survive JSON"),
    "reply too short": (Broken.with_(reply=lambda self, rs: [Done()]), "specimens", "returned 1"),
    "reply of None": (Broken.with_(reply=lambda self, rs: [None] * len(rs)), "specimens", "answered"),
    "endless": (
        replies(lambda r, a: Done() if r.words[-1] in ("Yes", "No", "", "perhaps") and len(r.words) > 1
                else Message("user", "More?")),
        "conformance", "has not said Done",
    ),
    # conformance
    "too few assessments": (
        Broken.with_(assess=lambda self, rs: Doubling.assess(self, rs)[1:]),
        "conformance", "and returned 0 assessments",
    ),
    "undeclared signal": (
        assessed(lambda r, a: replace(a, signals={**a.signals, "shine": 1.0})), "conformance", "undeclared ['shine']",
    ),
    "missing signal": (assessed(lambda r, a: replace(a, signals={"right": 1.0})), "conformance", "missing ['claims']"),
    "undeclared clue": (assessed(lambda r, a: replace(a, clues={})), "conformance", "missing ['false_claim']"),
    "NaN signal": (
        assessed(lambda r, a: replace(a, signals={**a.signals, "right": float("nan")})),
        "conformance", "signal 'right'",
    ),
    "no task score": (assessed(lambda r, a: replace(a, scores={"observed": 1.0})), "conformance", "lack 'task'"),
    "no honest score": (
        Broken.with_(reporting=Reporting(honest_score="nobody")), "conformance", "honest_score 'nobody' is not a score",
    ),
    "score of 2": (assessed(lambda r, a: replace(a, scores={**a.scores, "x": 2})), "conformance", "score 'x'"),
    "clue of a set": (assessed(lambda r, a: replace(a, clues={"false_claim": {1}})), "conformance", "survive JSON"),
    "odd state on garbage": (replies(odd_state), "conformance", "cannot be kept in a file"),
    "crash on garbage": (assessed(crash), "conformance", "could not convert string to float"),
    "crash in a batch": (Broken.with_(assess=only_in_batch), "conformance", "Only in a batch: RuntimeError: no room"),
    "NaN reward": (channel(lambda self, s, d: [float("nan")] * len(s)), "conformance", "reward is nan"),
    "reward out of range": (channel(lambda self, s, d: [1.5] * len(s)), "conformance", "reward is 1.5"),
    "too few rewards": (channel(lambda self, s, d: [0.0] * (len(s) - 1)), "conformance", "rewards() got"),
    "flags not bool": (detector(lambda self, c: [1] * len(c)), "conformance", "True, False or None"),
    # batches
    "batch mean": (Broken.with_(assess=batch_mean), "batches", "assess() of"),
    "sees that it is alone": (Broken.with_(assess=alone), "batches", "differs when one by one"),
    "assess remembers": (
        (lambda n: assessed(lambda r, a: replace(a, scores={**a.scores, "n": 1 / n()})))(Counts()),
        "batches", "asked again",
    ),
    "normalised reward": (channel(lambda self, s, d: [1 / len(s)] * len(s)), "batches", "rewards() of"),
    "flags the batch": (
        detector(lambda self, c: [len(c) % 2 == 0 and f for f in same(self, c)]), "batches", "flags() of",
    ),
    "writes on the rollout": (assessed(scribbles), "batches", "A rollout was changed"),
    "reply sees the batch": (Broken.with_(reply=first_only), "batches", "reply() to"),
    "reply sees the name": (
        replies(lambda r, a: replace(a, state=r.id.rpartition("/")[2])), "batches", "another rollout name",
    ),
    "equal rollouts once": (Broken.with_(assess=unique_words), "batches", "differs when each is there twice"),
    # JSON and referees
    "subclass of str": (
        type("Broken", (type(rewrites_kind),), {"assess": by_kind})(Options()), "json", "differs once its rollout was",
    ),
    "identity of a task": (Broken.with_(reply=by_identity, tasks=remembered), "json", "reply() to"),
    "assess sees the name": (assessed(sees_the_name), "slots", "Two referees that heard the same words"),
    "clusters that fill no step": (Broken.with_(tasks=ragged), "slots", "of sizes [5, 7], fill no step"),
    "setting that tears pairs": (
        Broken.with_(tiny=Tiny(settings={"run.prompts_per_step": 3})), "slots", "asks for 3 prompts a step",
    ),
    # draws
    "own coin": (channel(lambda self, s, d: [random.random() for _ in s]), "draws", "pays the same signals and draws"),
    "rare draw out of range": (
        channel(lambda self, s, d: [2.0 if draw("x") == 0.0 else 0.0 for draw in d]), "draws", "reward is 2.0",
    ),
    "rate of 0.5": (detector(same, rate=lambda f: 0.5), "rates", "returned 0.5"),
    "rate beyond its bounds": (
        detector(same, rate=lambda f: Estimate(-0.5, None, None, 1, 1, "a gap")), "rates", "outside its bounds",
    ),
    "rate of the order": (
        detector(same, rate=lambda f: Estimate(f.index(True) / len(f), 0, 1, 1, 1, "") if True in f else None),
        "rates", "differs when rollouts come in reverse",
    ),
    "rate of nothing": (detector(same, rate=lambda f: None if f else 1 / 0), "rates", "ZeroDivisionError"),
    "rate of abstentions": (detector(same, rate=lambda f: sum(f) and None), "rates", "TypeError"),
    # the point of it all
    "exploit not paid": (
        Broken.with_(channels={**Doubling.channels, "loophole": Checked(rate=0.2)}), "economics", "'loophole' pays",
    ),
    "control pays the exploit": (
        Broken.with_(channels={**Doubling.channels, "control": pay("claims", 0, 2)}, specimens=lambda self, t, d: {
            **Doubling.specimens(self, t, d), "honest": [(str(2 * t.public["i"]), "No")]}),
            "economics", "'control' pays",
    ),
    "misses the exploit": (detector(lambda self, c: [False] * len(c)), "detector", "False of the exploit"),
    "abstains on the exploit": (detector(lambda self, c: [None] * len(c)), "detector", "None of the exploit"),
    "flags the honest": (
        detector(lambda self, c: [f or x["said"][1] == "No" for f, x in zip(same(self, c), c, strict=True)]),
        "detector", "True of the honest",
    ),
    "flags the null": (
        detector(lambda self, c: [f or x["said"][1] == "" for f, x in zip(same(self, c), c, strict=True)]),
        "detector", "True of the null",
    ),
    # other processes
    "order of hash()": (HashOrder(Options()), "processes", "The order of tasks('train') differs in a new process"),
    "order of a set": (SetOrder(Options()), "processes", "assess() of"),
    "entropy": (Entropy(Options()), "processes", "What specimens() says differs"),
    "global set elsewhere": (Configured(Options()), "processes", "Only in a new process: AssertionError: not conf"),
}  # fmt: skip
