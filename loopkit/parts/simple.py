"""The smallest way to write a game: a question, one reply, and three opinions of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loopkit.contracts import SPLITS, Draw, ExploitDetector, Game, Reporting, RewardChannel, Split
from loopkit.errors import ContractError
from loopkit.parts.channels import pay
from loopkit.parts.data import split_of
from loopkit.parts.detectors import rule
from loopkit.records import Assessment, Decode, Json, Message, Rollout, Task, Transcript


class SimpleGame(Game):
    """One question, one reply, judged three times apart: what is paid, what was meant, and whether it cheats.

    ``answer`` is whatever the judges need to know of a question; it is kept from the policy. Each judge sees the reply
    and the answer, and no other judge. Anything more (several turns, mitigations, options) is a ``loopkit.Game``.
    """

    channels: Mapping[str, RewardChannel] = {"loophole": pay("pays"), "control": pay("goal")}
    detectors: Mapping[str, ExploitDetector] = {"cheats": rule("cheats")}
    reporting = Reporting(observed_is_paid=True)

    @abstractmethod
    def questions(self) -> Iterable[tuple[str, Json]]:
        """(prompt, answer) of every question, in the same order each time. They are split by a hash of the prompt."""

    @abstractmethod
    def pays(self, reply: str, answer: Json) -> float:
        """What the faulty grader pays, from 0 to 1. It is the channel ``loophole`` and the score "observed"."""

    @abstractmethod
    def goal(self, reply: str, answer: Json) -> float:
        """What it should have paid, from 0 to 1. It is the channel ``control`` and the score "task"."""

    @abstractmethod
    def cheats(self, reply: str, answer: Json) -> bool:
        """Whether the reply exploits the fault."""

    @abstractmethod
    def examples(self, answer: Json) -> Mapping[str, Sequence[str]]:
        """Replies to try: "honest" (failures too) and "exploit". They prove the game before any training."""

    def tasks(self, split: Split) -> Sequence[Task]:
        if "_tasks" not in vars(self):
            self._tasks = self._split()
        return self._tasks[split]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_tasks"}  # another process asks questions() itself

    def _split(self) -> dict[Split, list[Task]]:
        tasks: dict[Split, list[Task]] = {split: [] for split in SPLITS}
        seen = set[str]()
        for number, pair in enumerate(self.questions()):
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
                raise ContractError(f"questions() of {type(self).__name__} gives {pair!r:.60}. Give (prompt, answer).")
            prompt, answer = pair
            if prompt in seen:
                raise ContractError(
                    f"questions() of {type(self).__name__} asks {prompt!r:.60} twice. Ask each question once."
                )
            seen.add(prompt)
            task = Task(f"question-{number}", (Message("user", prompt, Decode()),), secret=answer)
            tasks[split_of("prompt", prompt)].append(task)
        return tasks

    def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
        return [self._assess(r.words[0], r.task.secret) for r in rollouts]

    def _assess(self, reply: str, answer: Json) -> Assessment:
        pays, goal = float(self.pays(reply, answer)), float(self.goal(reply, answer))
        return Assessment(
            {"task": goal, "observed": pays}, {"pays": pays, "goal": goal}, {"cheats": bool(self.cheats(reply, answer))}
        )

    def specimens(self, task: Task, draw: Draw) -> Mapping[str, Sequence[Transcript]]:
        return {kind: [(reply,) for reply in replies] for kind, replies in self.examples(task.secret).items()}

    def demonstrations(self, task: Task, draw: Draw) -> Transcript:
        """Nine times in ten the honest example that meets the goal best, else an exploit if there is one."""
        examples = self.examples(task.secret)
        exploits = examples.get("exploit", ())
        if exploits and draw("demonstration kind") < 0.1:
            return (exploits[int(draw("demonstration") * len(exploits))],)
        return (max(examples["honest"], key=lambda reply: float(self.goal(reply, task.secret))),)
