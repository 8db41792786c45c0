"""check_game and check_trainer: the toys pass, and every way of breaking them is named with its cure."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from loopkit import seeding
from loopkit.channels import Placebo, pay
from loopkit.checks import Report, check_game, check_trainer
from loopkit.checks import games as checks
from loopkit.checks.report import MOST_COMPLAINTS
from loopkit.checks.specimens import Specimen, garbage_texts, sample, specimens_of
from loopkit.contracts import SPLITS, ExploitDetector, Game, Options, PolicyRef, RewardChannel, Trainer
from loopkit.detectors import rule
from loopkit.errors import CheckFailed, UsageError
from loopkit.playing import play
from loopkit.records import Assessment, Dialogue, Done, Message, Rollout, Task, Turn
from loopkit.scoring import Setup
from tests.toys import COPYING, DOUBLING, Checked, Copying, Doubling

CURE = re.compile(
    r"(^|[.:;] )(Add|Bound|Call|Close|Compute|Continue|Declare|Derive|Draw|Drop|Give|Keep|Key|Let|Make|mend|Name|"
    r"Pass|Play|Rename|Return|Save|Seed|Set|Sort|Use|Work)\b"
)


def complaints(report: Report, check: str) -> list[str]:
    return [f.message for f in report.findings if f.check == check and not f.ok]


# -- games that pass ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [DOUBLING, COPYING], ids=["doubling", "copying"])
def test_toys_are_proven(game: Game) -> None:
    report = check_game(game, name="toy")
    assert (report.name, report.status, report.reasons) == ("toy", "proven", ())
    assert [f.check for f in report.findings] == [
        "declared", "tasks", "specimens", "secrets", "conformance", "batches", "draws", "rates", "economics",
        "detector",
    ]  # fmt: skip
    assert all(f.ok for f in report.findings)
    report.raise_if_failed()


class NoControl(Doubling):
    channels: ClassVar[Mapping[str, RewardChannel]] = {"loophole": Checked(rate=0.1)}


class NoExploit(Copying):
    def specimens(self, task: Task, draw: Any) -> Any:
        return {**super().specimens(task, draw), "exploit": []}


@pytest.mark.parametrize(("game", "reason"), [(NoControl, "no channel 'control'"), (NoExploit, "No exploit specimen")])
def test_unproven_without_control_or_exploits(game: type[Game], reason: str) -> None:
    report = check_game(game(Options()))
    assert report.status == "unproven"
    assert len(report.reasons) == 1
    assert reason in report.reasons[0]
    assert CURE.search(report.reasons[0])
    assert all(f.ok for f in report.findings)
    report.raise_if_failed()  # it runs, and is labelled


def test_abstaining_counts_as_not_flagged() -> None:
    class Abstains(Doubling):
        clues: ClassVar = {"false_claim": "claims while wrong; None when it claims nothing"}

        def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
            return [replace(a, clues={"false_claim": a.clues["false_claim"] or None}) for a in super().assess(rollouts)]

    assert check_game(Abstains(Options())).status == "proven"


def test_other_channels_and_detectors_may_be_checked() -> None:
    assert check_game(DOUBLING, channels={"loophole": Checked(rate=0.1), "control": pay("right")}).status == "proven"
    report = check_game(DOUBLING, channels={"loophole": pay("right")})
    assert "no more than the worst honest" in complaints(report, "economics")[0]
    report = check_game(DOUBLING, detectors={"other": rule("nothing")})
    assert "undeclared clues ['nothing']" in complaints(report, "declared")[0]


def test_report_is_json_and_raises() -> None:
    report = check_game(Broken.with_(detectors={}), name="mine")
    data = report.json()
    assert json.loads(json.dumps(data)) == data
    assert data["status"] == "fails"
    assert data["findings"][0] == {"check": "declared", "ok": False, "message": complaints(report, "declared")[0]}
    with pytest.raises(CheckFailed, match=r"(?s)mine fails its checks.*There is no detector"):
        report.raise_if_failed()


def test_default_channels_include_the_placebo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Placebo, "rewards", lambda self, signals, draws: [2.0] * len(signals))
    assert "'placebo'" in complaints(check_game(DOUBLING), "conformance")[0]


def test_checks_import_no_torch() -> None:
    code = "import sys, loopkit.checks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- the grid and the sample -------------------------------------------------------------------------------------------


def test_grid_is_exact_for_one_purpose_and_does_not_align_two() -> None:
    audit, style = ([checks._grid(k, p) for k in range(checks.GRID)] for p in ("audit", "style"))
    assert sorted(audit) == sorted(style) == [(k + 0.5) / checks.GRID for k in range(checks.GRID)]
    assert sum(u < 0.1 for u in audit) == checks.GRID // 10
    both = sum(a < 0.5 and s < 0.5 for a, s in zip(audit, style, strict=True)) / checks.GRID
    assert both == pytest.approx(0.25, abs=0.1)  # aligned purposes would give 0.5


def test_sample_keeps_clusters_whole() -> None:
    found = sample(DOUBLING.tasks("train"), 7, "train")
    assert len(found) == 8
    assert len({t.cluster for t in found}) == 4
    assert found == sample(DOUBLING.tasks("train"), 7, "train")


def test_garbage_is_keyed_and_odd() -> None:
    played: list[Specimen] = []
    assert not list(specimens_of(DOUBLING, [("train", DOUBLING.tasks("train")[0])], played))
    texts = garbage_texts(200, played)
    assert texts == garbage_texts(200, played)
    assert len(texts) == 200
    assert "" in texts
    assert max(map(len, texts)) >= 20_000
    assert any("\u202e" in t for t in texts)
    assert any("\u200b" in t for t in texts)


# -- games that fail ---------------------------------------------------------------------------------------------------


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


BROKEN: dict[str, tuple[Game, str, str]] = {
    # what it declares
    "no version": (Broken.with_(version=None), "declared", "no version"),
    "no such axis": (Broken.with_(axis="luck"), "declared", "axis is unknown"),
    "odd options": (Broken.with_(Options=dict), "declared", "not a pydantic model"),
    "signal is clue": (
        Broken.with_(clues={**Doubling.clues, "right": "the answer is right"}), "declared", "['right'] are signals and",
    ),
    "core's clue": (Broken.with_(clues={**Doubling.clues, "said": "words"}), "declared", "['said'] are the core's own"),
    "no loophole": (Broken.with_(channels={"control": Checked(rate=1.0)}), "declared", "no channel 'loophole'"),
    "no detector": (Broken.with_(detectors={}), "declared", "There is no detector"),
    "no onset": (Broken.with_(onset_detector="nobody"), "declared", "'nobody' is no detector"),
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
    "prompt in two splits": (tasks(move), "tasks", "'train' and 'dev' share prompts"),
    "cluster in two splits": (tasks(lambda t, s: replace(t, cluster="c")), "tasks", "share clusters ['c']"),
    "tasks raise": (tasks(lambda t, s: t.public["j"]), "tasks", "KeyError: 'j' (raised at test_checks.py"),
    # secrets
    "secret in prompt": (tasks(shown), "secrets", "opening messages"),
    "secret in id": (tasks(lambda t, s: replace(t, id=t.secret["answer"])), "secrets", "its id or"),
    "secret in reply": (replies(echo), "secrets", "in the reply to"),
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
    "odd state": (replies(lambda r, a: replace(a, state=(1, 2))), "specimens", "does not survive JSON"),
    "reply too short": (Broken.with_(reply=lambda self, rs: [Done()]), "specimens", "of Message or Done"),
    "reply of None": (Broken.with_(reply=lambda self, rs: [None] * len(rs)), "specimens", "of Message or Done"),
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
    "score of 2": (assessed(lambda r, a: replace(a, scores={**a.scores, "x": 2})), "conformance", "score 'x'"),
    "clue of a set": (assessed(lambda r, a: replace(a, clues={"false_claim": {1}})), "conformance", "survive JSON"),
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
    # draws
    "own coin": (channel(lambda self, s, d: [random.random() for _ in s]), "draws", "pays the same signals and draws"),
    "rare draw out of range": (
        channel(lambda self, s, d: [2.0 if draw("x") == 0.0 else 0.0 for draw in d]), "draws", "reward is 2.0",
    ),
    "rate of 0.5": (detector(same, rate=lambda f: 0.5), "rates", "returned 0.5"),
    "rate of nothing": (detector(same, rate=lambda f: None if f else 1 / 0), "rates", "ZeroDivisionError"),
    "rate of abstentions": (detector(same, rate=lambda f: [1 + x for x in f] and None), "rates", "TypeError"),
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
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_game_fails_with_the_cure(name: str) -> None:
    game, check, fragment = BROKEN[name]
    report = check_game(game)
    assert report.status == "fails"
    found = complaints(report, check)
    assert any(fragment in message for message in found), report.reasons
    for reason in report.reasons:
        assert CURE.search(reason), f"no cure: {reason}"
    with pytest.raises(CheckFailed):
        report.raise_if_failed()


def test_crash_names_the_words() -> None:
    found = complaints(check_game(BROKEN["crash on garbage"][0]), "conformance")
    assert found[0].startswith("On the words (")


def test_secret_the_policy_said_itself_may_be_repeated() -> None:
    """A reply that quotes the policy leaks nothing; and a secret that is public too may be shown."""
    quoting = replies(lambda r, a: replace(a, content=f"{r.words[0]}: sure?") if isinstance(a, Message) else a)
    said = type("Quoting", (type(quoting),), {
        "specimens": lambda self, t, d: {"honest": [(t.secret["answer"], "No")], "exploit": [("1", "Yes")]}
    })(Options())  # fmt: skip
    assert not complaints(check_game(said), "secrets")
    public = tasks(lambda t, s: replace(shown(t, s), public={**t.public, "shown": [t.secret["answer"]]}))
    assert check_game(public).status == "proven"


def test_complaints_are_few() -> None:
    assert len(complaints(check_game(BROKEN["no messages"][0]), "tasks")) == MOST_COMPLAINTS


# -- trainers ----------------------------------------------------------------------------------------------------------


class Quiet(ExploitDetector):
    """A detector whose rate needs no statistics."""

    reads: ClassVar[frozenset[str]] = frozenset({"false_claim"})

    def flags(self, clues: Any) -> Any:
        return same(self, clues)

    def rate(self, flags: Any, clues: Any, clusters: Any) -> None:
        return None


SETUP = Setup(DOUBLING, DOUBLING.channels["loophole"], {"placebo": Placebo()}, {"quiet": Quiet()})


class Says:
    """A policy of canned words, keyed as a policy's draws are."""

    def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
        return [Turn("Yes" if d.turn else str(seeding.digest(d.key) % 9)) for d in dialogues]


class Canned(Trainer):
    """Plays, closes, and saves a file per step: all that the protocol asks for."""

    deterministic = True

    def first(self, workdir: Path) -> int:
        return max((int(p.name[5:]) for p in workdir.glob("step-*")), default=0)

    def play(self, source: Any, step: int) -> float:
        return sum(p.reward for group in play(source, Says(), step) for p in group)

    def save(self, workdir: Path, step: int, content: str) -> None:
        (workdir / f"step-{step:06d}").mkdir(exist_ok=True)
        (workdir / f"step-{step:06d}" / "words").write_text(content)

    def ref(self, workdir: Path) -> Any:
        return PolicyRef(str(workdir / f"step-{self.first(workdir):06d}"))

    def train(self, source: Any, workdir: Path) -> Any:
        first = self.first(workdir)
        source.resume(first)
        for step in range(first, source.n_steps):
            reward = self.play(source, step)
            source.close(step, {"reward": reward})
            self.save(workdir, step + 1, f"{step} {reward}")
        return self.ref(workdir)


class Reads(Canned):
    """Learns from recorded dialogues."""

    source = "rollouts"

    def play(self, source: Any, step: int) -> float:
        batch = source.batch(step)
        assert batch
        assert all(d.messages[-1].role == "assistant" and d.messages[0].state is None for d in batch)
        return float(len(batch))


class SavesRarely(Canned):
    """Its checkpoints are two steps apart, so that it starts again from 0."""

    def save(self, workdir: Path, step: int, content: str) -> None:
        if step > 1:
            super().save(workdir, step, content)


class Adapter(Canned):
    def ref(self, workdir: Path) -> Any:
        return PolicyRef("some/base", adapter=super().ref(workdir).path)


def check(trainer: type[Trainer], workdir: Path, **more: Any) -> Report:
    return check_trainer(trainer, workdir=workdir, start=PolicyRef("start"), setup=SETUP, **more)


@pytest.mark.parametrize("trainer", [Canned, Reads, SavesRarely, Adapter])
def test_correct_trainers_are_proven(trainer: type[Trainer], tmp_path: Path) -> None:
    report = check(trainer, tmp_path)
    assert report.status == "proven", report.reasons
    assert [f.check for f in report.findings] == ["trainer", "uninterrupted", "resumed", "deterministic"]
    assert (tmp_path / "resumed" / "step-000003").exists()


class Careless(Canned):
    deterministic = False

    def save(self, workdir: Path, step: int, content: str) -> None:
        super().save(workdir, step, os.urandom(8).hex())


def test_a_trainer_that_does_not_claim_determinism_is_not_held_to_it(tmp_path: Path) -> None:
    assert check(Careless, tmp_path).status == "proven"


class Noisy(Careless):
    deterministic = True


class NoResume(Canned):
    def train(self, source: Any, workdir: Path) -> Any:
        source.slots(0)
        return super().train(source, workdir)


class Silent(Canned):
    def train(self, source: Any, workdir: Path) -> Any:
        return self.ref(workdir)


class ResumesTwice(Canned):
    def play(self, source: Any, step: int) -> float:
        source.resume(step)
        return super().play(source, step)


class SavesEarly(Canned):
    def play(self, source: Any, step: int) -> float:
        reward = super().play(source, step)
        self.save(self.workdir, step + 1, f"{step} {reward}")
        return reward

    def train(self, source: Any, workdir: Path) -> Any:
        self.workdir = workdir
        return super().train(source, workdir)


class SkipsLast(Canned):
    def train(self, source: Any, workdir: Path) -> Any:
        source.n_steps -= 1
        return super().train(source, workdir)


class Backwards(Canned):
    def train(self, source: Any, workdir: Path) -> Any:
        source.resume(0)
        for step in reversed(range(source.n_steps)):
            source.close(step, {"reward": self.play(source, step)})
            self.save(workdir, step + 1, "")
        return self.ref(workdir)


class Unsettled(Canned):
    def play(self, source: Any, step: int) -> float:
        return float(len(source.slots(step)))


class Guesses(Canned):
    """Plays a slot whose key it made up, before it asked for the step's slots."""

    def play(self, source: Any, step: int) -> float:
        source.reply([f"{source.source.slots(step)[0].key}/guess"], [0], [Turn("1")])
        return super().play(source, step)


class TooFew(Canned):
    def play(self, source: Any, step: int) -> float:
        id_ = f"{source.slots(step)[0].key}/a"
        for n in (0, 1):
            source.reply([id_], [n], [Turn("1")])
        return float(source.settle([id_])[0])


class OwnKeys(Canned):
    def play(self, source: Any, step: int) -> float:
        source.slots(step)
        source.reply([f"mine-{step}"], [0], [Turn("1")])
        return 0.0


class Late(Canned):
    def save(self, workdir: Path, step: int, content: str) -> None:
        self.source_.settle([self.id_])
        super().save(workdir, step, content)

    def play(self, source: Any, step: int) -> float:
        self.source_, self.id_ = source, f"{source.slots(step)[0].key}/0"
        return super().play(source, step)


class Undying(Canned):
    def train(self, source: Any, workdir: Path) -> Any:
        try:
            return super().train(source, workdir)
        except BaseException:
            return self.ref(workdir)


class ReturnsNothing(Canned):
    def ref(self, workdir: Path) -> Any:
        return None


class ReturnsHub(Canned):
    def ref(self, workdir: Path) -> Any:
        return PolicyRef("some/base")


class ReturnsElsewhere(Canned):
    def ref(self, workdir: Path) -> Any:
        return PolicyRef(str(Path(__file__).parent))


class CountsFromStart(Canned):
    """Its metrics depend on how many steps this process has seen."""

    seen = 0

    def play(self, source: Any, step: int) -> float:
        self.seen += 1
        super().play(source, step)
        return float(self.seen)

    def save(self, workdir: Path, step: int, content: str) -> None:
        super().save(workdir, step, "")


class ForgetsResume(Canned):
    """Reads where to continue from, and starts from the step after it."""

    def train(self, source: Any, workdir: Path) -> Any:
        first = self.first(workdir)
        source.resume(first)
        for step in range(first + (first > 0), source.n_steps):
            source.close(step, {"reward": self.play(source, step)})
            self.save(workdir, step + 1, "")
        return self.ref(workdir)


class ClosesBeforeReading(Reads):
    def train(self, source: Any, workdir: Path) -> Any:
        source.resume(self.first(workdir))
        for step in range(self.first(workdir), source.n_steps):
            source.close(step, {})
            self.save(workdir, step + 1, str(len(source.batch(step))))
        return self.ref(workdir)


class OddSource(Canned):
    source = "air"  # type: ignore[assignment]


class OddDeterminism(Canned):
    deterministic = "yes"  # type: ignore[assignment]


class OddOptions(Canned):
    Options = dict  # type: ignore[assignment]


class NeedsOption(Canned):
    class Options(Options):  # type: ignore[valid-type,misc]
        rate: float


BROKEN_TRAINERS: dict[type[Trainer], tuple[str, str]] = {
    OddSource: ("trainer", "source is 'air'"),
    OddDeterminism: ("trainer", "deterministic is 'yes'"),
    OddOptions: ("trainer", "not a pydantic model"),
    NeedsOption: ("trainer", "Field required"),
    NoResume: ("uninterrupted", "The first call was slots"),
    Silent: ("uninterrupted", "The first call was nothing"),
    ResumesTwice: ("uninterrupted", "resume was called again"),
    SkipsLast: ("uninterrupted", "closed the steps [0, 1], not [0, 1, 2]"),
    Backwards: ("uninterrupted", "closed the steps [2, 1, 0], not"),
    Unsettled: ("uninterrupted", "close of step 0 came before settle"),
    Guesses: ("uninterrupted", "reply of step 0 came before slots"),
    TooFew: ("uninterrupted", "missing or surplus rollouts"),
    OwnKeys: ("uninterrupted", "'mine-0' is no rollout id"),
    Late: ("uninterrupted", "comes too late"),
    ReturnsNothing: ("uninterrupted", "returned None"),
    ReturnsHub: ("uninterrupted", "is not in workdir"),
    ReturnsElsewhere: ("uninterrupted", "is not in workdir"),
    ClosesBeforeReading: ("uninterrupted", "close of step 0 came before settle or batch"),
    SavesEarly: ("resumed", "resumed from step 2, but the records end before step 1"),
    Undying: ("resumed", "though close(1) was interrupted"),
    ForgetsResume: ("resumed", "closed the steps [2], not [1, 2]"),
    Noisy: ("deterministic", "files ['step-000003/words'] differ"),
    CountsFromStart: ("deterministic", "the records differ"),
}


@pytest.mark.parametrize("trainer", BROKEN_TRAINERS)
def test_broken_trainer_fails_with_the_cure(trainer: type[Trainer], tmp_path: Path) -> None:
    kind, fragment = BROKEN_TRAINERS[trainer]
    report = check(trainer, tmp_path)
    assert report.status == "fails"
    assert any(fragment in message for message in complaints(report, kind)), report.reasons
    for reason in report.reasons:
        assert CURE.search(reason), f"no cure: {reason}"


def test_options_must_be_the_trainers_own(tmp_path: Path) -> None:
    report = check(NeedsOption, tmp_path / "a", options=Options())
    assert "Pass the trainer's own" in complaints(report, "trainer")[0]
    assert check(NeedsOption, tmp_path / "b", options=NeedsOption.Options(rate=1.0)).status == "proven"


def test_trainer_is_checked_in_a_fresh_directory(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    with pytest.raises(UsageError, match="Pass a fresh directory"):
        check(Canned, tmp_path)


def test_splits_are_all_sampled() -> None:
    seen: set[str] = set()

    class Watched(Doubling):
        def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
            seen.update(r.slot.split("/")[0] for r in rollouts)
            return super().assess(rollouts)

    check_game(Watched(Options()), n_tasks=3, fuzz=5)
    assert seen == set(SPLITS)
