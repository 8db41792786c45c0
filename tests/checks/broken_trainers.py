"""Small trainers, correct ones and ones broken in one way each, with the check that must catch these and why."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from loopkit import seeding
from loopkit.contracts import ExploitDetector, Options, PolicyRef, Trainer
from loopkit.errors import RefereeError
from loopkit.parts.channels import Placebo
from loopkit.records import Dialogue, Turn
from loopkit.rollouts.playing import play
from loopkit.rollouts.scoring import Setup
from tests.toys import DOUBLING


class Quiet(ExploitDetector):
    """A detector whose rate needs no statistics."""

    reads: ClassVar[frozenset[str]] = frozenset({"false_claim"})

    def flags(self, clues: Any) -> Any:
        return [bool(c["false_claim"]) for c in clues]

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

    config: ClassVar[str | None] = json.dumps({"model_type": "canned"})
    weights: ClassVar[str] = "model.safetensors"

    def save(self, workdir: Path, step: int, content: str) -> None:
        target = workdir / f"step-{step:06d}"
        target.mkdir(exist_ok=True)
        if self.config is not None:
            (target / "config.json").write_text(self.config)
        (target / self.weights).write_text(content)

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
    """Saves an adapter, as LoRA does."""

    weights = "adapter_model.safetensors"

    def save(self, workdir: Path, step: int, content: str) -> None:
        super().save(workdir, step, content)
        (workdir / f"step-{step:06d}" / "config.json").rename(workdir / f"step-{step:06d}" / "adapter_config.json")

    def ref(self, workdir: Path) -> Any:
        return PolicyRef("some/base", adapter=super().ref(workdir).path)


class Careless(Canned):
    deterministic = False

    def save(self, workdir: Path, step: int, content: str) -> None:
        super().save(workdir, step, os.urandom(8).hex())


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
        for i in range(DOUBLING.size):
            with suppress(RefereeError):
                source.reply([f"train/{step:06d}/0000/t{i}/guess"], [0], [Turn("1")])
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


class StartsOver(Canned):
    """Saves checkpoints and never looks at them."""

    def train(self, source: Any, workdir: Path) -> Any:
        source.resume(0)
        for step in range(source.n_steps):
            source.close(step, {"reward": self.play(source, step)})
            self.save(workdir, step + 1, f"{step}")
        return self.ref(workdir)


class Peeks(Canned):
    """Finds the answers where a local referee keeps them."""

    def play(self, source: Any, step: int) -> float:
        setup = getattr(source, "setup", None)
        assert setup is None
        return super().play(source, step)


class NaN(Canned):
    def play(self, source: Any, step: int) -> float:
        super().play(source, step)
        return float("nan")


class Words(Canned):
    def play(self, source: Any, step: int) -> Any:
        return str(super().play(source, step))


class Evaluates(Canned):
    """Looks at the first step's prompts again, to see how it does on them."""

    def train(self, source: Any, workdir: Path) -> Any:
        ref = super().train(source, workdir)
        source.slots(0)
        return ref


class NoConfig(Canned):
    config = None


class HalfConfig(Canned):
    config = "{"


class Pickled(Canned):
    weights = "pytorch_model.bin"


class OwnName(Canned):
    def ref(self, workdir: Path) -> Any:
        target = workdir / "final"
        (workdir / f"step-{self.first(workdir):06d}").rename(target)
        return PolicyRef(str(target))


class ChangesStart(Canned):
    def train(self, source: Any, workdir: Path) -> Any:
        (Path(self.start.path) / "touched").write_text("")
        return super().train(source, workdir)


class GlobalRandom(Canned):
    """Seeds the global stream once, and draws from it every step."""

    def train(self, source: Any, workdir: Path) -> Any:
        random.seed(self.seed)
        return super().train(source, workdir)

    def save(self, workdir: Path, step: int, content: str) -> None:
        super().save(workdir, step, f"{random.random()}")


class ForgetsMomentum(Canned):
    momentum = 0.0

    def save(self, workdir: Path, step: int, content: str) -> None:
        self.momentum = 0.9 * self.momentum + 1
        super().save(workdir, step, f"{self.momentum}")


class HashDraws(Canned):
    """Draws by hash(), which another process answers otherwise."""

    def save(self, workdir: Path, step: int, content: str) -> None:
        super().save(workdir, step, f"{hash(('seed', step))}")


class ReplaysName(Canned):
    """Tries a rollout again under its old name."""

    def play(self, source: Any, step: int) -> float:
        id_ = f"{source.slots(step)[0].key}/0"
        for words in ("never", "mind"):
            source.reply([id_], [0], [Turn(words)])
        return super().play(source, step)


class OddFinish(Canned):
    """Says why it stopped in its own words: a local referee does not look, a served one does."""

    def play(self, source: Any, step: int) -> float:
        class Ends(Says):
            def speak(self, dialogues: Sequence[Dialogue]) -> list[Turn]:
                return [Turn(t.text, "eos") for t in super().speak(dialogues)]  # type: ignore[arg-type]

        return sum(p.reward for group in play(source, Ends(), step) for p in group)


class ClosesTwice(Reads):
    def play(self, source: Any, step: int) -> float:
        found = super().play(source, step)
        source.close(step, {})
        return found


class LooseOptions(Canned):
    class Options(Options):  # type: ignore[valid-type,misc]
        model_config = ConfigDict(strict=False)


BROKEN_TRAINERS: dict[str, tuple[type[Trainer], str, str]] = {
    "no such source": (OddSource, "trainer", "source is 'air'"),
    "odd determinism": (OddDeterminism, "trainer", "deterministic is 'yes'"),
    "odd options": (OddOptions, "trainer", "not a pydantic model"),
    "option without a default": (NeedsOption, "trainer", "Field required"),
    "loose options": (LooseOptions, "trainer", "Options has strict=False"),
    # the protocol
    "no resume": (NoResume, "uninterrupted", "The first call was slots"),
    "asks nothing": (Silent, "uninterrupted", "The first call was nothing"),
    "resumes twice": (ResumesTwice, "uninterrupted", "resume was called again"),
    "skips the last step": (SkipsLast, "uninterrupted", "closed the steps [0, 1], not [0, 1, 2]"),
    "closes backwards": (Backwards, "uninterrupted", "closed the steps [2, 1, 0], not"),
    "closes unsettled": (Unsettled, "uninterrupted", "close of step 0 came before settle"),
    "guesses slots": (Guesses, "uninterrupted", "reply of step 0 came before slots"),
    "too few rollouts": (TooFew, "uninterrupted", "missing or surplus rollouts"),
    "keys of its own": (OwnKeys, "uninterrupted", "'mine-0' is not a rollout id"),
    "settles after close": (Late, "uninterrupted", "comes too late"),
    "replays a name": (ReplaysName, "uninterrupted", "already played with another text"),
    "closes before reading": (ClosesBeforeReading, "uninterrupted", "close of step 0 came before settle or batch"),
    "closes twice": (ClosesTwice, "uninterrupted", "Step 0 was recorded twice"),
    "looks behind the referee": (Peeks, "uninterrupted", "It looked at source.setup"),
    "NaN metric": (NaN, "uninterrupted", "close(0) was given {'reward': nan}"),
    "metric of words": (Words, "uninterrupted", "close(0) was given {'reward': '"),
    # what it leaves
    "returns nothing": (ReturnsNothing, "uninterrupted", "returned None"),
    "returns a hub id": (ReturnsHub, "uninterrupted", "is not in workdir"),
    "returns another folder": (ReturnsElsewhere, "uninterrupted", "is not in workdir"),
    "own checkpoint name": (OwnName, "uninterrupted", "train() returned 'final'"),
    "no config": (NoConfig, "uninterrupted", "step-000003 has no config.json"),
    "half a config": (HalfConfig, "uninterrupted", "has no config.json that is a JSON object"),
    "pickled weights": (Pickled, "uninterrupted", "has no *.safetensors"),
    "writes into the start": (ChangesStart, "uninterrupted", "changed the policy it starts from"),
    # killed
    "saves before close": (SavesEarly, "resumed", "resumed from step 2, but the records end before step 1"),
    "survives an interrupt": (Undying, "resumed", "though close(1) was interrupted"),
    "skips a step on resume": (ForgetsResume, "resumed", "closed the steps [2], not [1, 2]"),
    "starts over": (StartsOver, "resumed", "resumed from step 0, and step-000001 was there"),
    "evaluates": (Evaluates, "resumed", "asked for the steps [0] and never closed them"),
    "ends in its own words": (OddFinish, "served", "field 'finish' must be 'stop' or 'length'"),
    # deterministic, it says
    "entropy": (Noisy, "deterministic", "files ['step-000003/model.safetensors'] differ"),
    "counts from its start": (CountsFromStart, "deterministic", "the records differ"),
    "global random stream": (GlobalRandom, "deterministic", "When resumed, the policy's files"),
    "forgets its momentum": (ForgetsMomentum, "deterministic", "When resumed, the policy's files"),
    "draws by hash()": (HashDraws, "deterministic", "When restarted, the policy's files"),
}
