"""Logged dialogues -> scored rollouts: what was paid, what a trusted reward says, what a label says, which signs show.

The same for every arm and every step, so that arms can be compared: ranges are given, never read off the data.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopkit.elsewhere.files import Skipped
from loopkit.elsewhere.files import rows as raw
from loopkit.elsewhere.parts import Logged, number_of
from loopkit.elsewhere.recorded import Criteria, Elsewhere
from loopkit.errors import UsageError
from loopkit.experiment.config import validate
from loopkit.records import Assessment, Done, Json, Message, Rollout, Scored, Task, Turn
from loopkit.rewards import libraries, source
from loopkit.rewards.columns import PROMPTS, REFERENCES, first_of
from loopkit.rewards.columns import asked as of_prompt
from loopkit.rewards.reward import Part, Reward, reward
from loopkit.rewards.signatures import Table, calling
from loopkit.rollouts.scoring import PAID, Setup, all_clues, flag
from loopkit.rollouts.thoughts import parted
from loopkit.seeding import digest

TRUE = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
Rows = Mapping[str, Mapping[str, Json]]
"""Prompt (``asked``) -> the row of the data that holds it."""


def is_function(named: str) -> bool:
    """Whether ``--reward`` or ``--trusted`` names code, and not a column."""
    return ":" in named


def criteria_of(made: Collection[str] = (), **given: Json) -> Criteria:
    """Validated, with the hashes of the functions' code, but for those that were ``made`` where no file shows them.

    Raises UsageError.
    """
    named = [n for key in ("reward", "trusted") if is_function(n := given.get(key) or "") and n not in made]
    criteria: Criteria = validate(Criteria, {**given, "code": {n: source.fingerprint(n) for n in named}}, "compare")
    return criteria


def asked(row: Logged) -> str:
    """What a dialogue began with, as one text: the last thing that the user said."""
    return "" if not row.prompt else row.prompt[-1].content.strip()


@dataclass(frozen=True)
class Judged:
    """``scored`` (B,) of the rows that could be judged; ``steps`` (B,), None where the log has none; ``without``: what
    others lacked, and of how many."""

    scored: Sequence[Scored]
    steps: Sequence[int | None]
    without: Mapping[str, int] = field(default_factory=dict)


class Judge:
    """Judges rows as ``options`` say. ``data``: further columns that a function needs, by prompt. ``functions``: those
    that were given themselves, by what ``options`` calls them.
    """

    def __init__(
        self, options: Criteria, data: Rows | None = None, functions: Mapping[str, Callable[..., Json]] | None = None
    ) -> None:
        self.options = options
        self.functions = dict(functions or {})
        self.game = Elsewhere(options)
        self.data = data or {}
        paid = self.game.channels["loophole"]
        self.setup = Setup(self.game, paid, self.game.channels, self.game.detectors)

    def judge(
        self, rows: Sequence[Logged], seed: int, paid: str | None, question: str | None = None, *, plain: bool = False
    ) -> Judged:
        """Rows of one run. ``paid``: the column that its trainer was paid by, where that is known. ``question``: the
        column of the reward in question, where that is another arm's pay and no reward was named. ``plain``: by what
        was said alone, without the reward in question and the trusted one.

        A row in which the reward in question has no number is left out, and counted. Raises UsageError for a value
        beyond its range.
        """
        without = Counter[str]()
        named, fair = ("", "") if plain else (self.options.reward or question or paid or "", self.options.trusted)
        rewards = self._values(named, rows, "reward", self.options.reward_range)
        trusted = self._values(fair, rows, "trusted", self.options.trusted_range)
        if any(v is not None for v in rewards):
            kept = [i for i, v in enumerate(rewards) if v is not None]
            if len(kept) < len(rows):
                without[f"a number in {named}"] = len(rows) - len(kept)
        else:
            kept = list(range(len(rows)))
            without["a reward" if not named else f"the column {named}"] = len(rows)
        if fair and (lost := sum(trusted[i] is None for i in kept)):
            without[f"the trusted score {fair}"] = lost
        labels = [self._label(rows[i]) for i in kept]
        if self.options.label and (lost := sum(v is None for v in labels)):
            without[f"the label {self.options.label}"] = lost
        rollouts, occurrences = self._rollouts([rows[i] for i in kept], seed)
        assessed = [
            self._assessment(rows[i], rewards[i], trusted[i], label) for i, label in zip(kept, labels, strict=True)
        ]
        clues = [all_clues(r, a) for r, a in zip(rollouts, assessed, strict=True)]
        flags = {name: flag(name, d, clues) for name, d in self.setup.detectors.items()}
        columns: dict[str, list[float]] = {}
        of_log = [r.numbers.get(paid) for r in rows] if paid else rewards
        for name, values in ((PAID, of_log), ("loophole", rewards), ("control", trusted)):
            whole = [v for i in kept if (v := values[i]) is not None]
            if len(whole) == len(kept):
                columns[name] = whole
        for name in sorted({n for i in kept for n in rows[i].numbers} - columns.keys()):  # each part of the pay
            whole = [v for i in kept if (v := rows[i].numbers.get(name)) is not None]
            if len(whole) == len(kept):
                columns[name] = whole
        scored = [
            Scored(rollout, occurrences[k], assessed[k], {n: c[k] for n, c in columns.items()},
                   {n: f[k] for n, f in flags.items()})
            for k, rollout in enumerate(rollouts)
        ]  # fmt: skip
        self.game.known |= {r.task.id: r.task for r in rollouts}
        return Judged(scored, [rows[i].step for i in kept], without)

    def _assessment(self, row: Logged, reward: float | None, trusted: float | None, label: bool | None) -> Assessment:
        observed = None if reward is None else _share(reward, self.options.reward_range)
        task = None if trusted is None else _share(trusted, self.options.trusted_range)
        both, passes = observed is not None and task is not None, self.options.passes
        return Assessment(
            scores={"task": task, "observed": observed},
            signals={n: v for n, v in (("reward", reward), ("trusted", trusted)) if v is not None},
            clues={
                "reference": None if row.references is None else list(row.references),
                "disagrees": (observed or 0.0) >= passes and (task or 0.0) < passes if both else None,
                "labelled": label,
            },
        )

    # --- what is paid -----------------------------------------------------------------------------------------

    def _values(self, named: str, rows: Sequence[Logged], option: str, ends: tuple[float, float]) -> list[float | None]:
        """(B,) numbers of a column, or of a function; None where there is none."""
        if not named:
            return [None] * len(rows)
        in_log = any(named in r.numbers for r in rows)
        values = self.called(named, rows) if is_function(named) and not in_log else [r.numbers.get(named) for r in rows]
        for row, value in zip(rows, values, strict=True):
            if value is not None and not ends[0] <= value <= ends[1]:
                raise UsageError(
                    f"{row.where}: {named} is {value:g}, beyond {ends[0]:g} to {ends[1]:g}. Say between which numbers "
                    f"it lies: --{option}-range LOW,HIGH."
                )
        return values

    def called(self, named: str, rows: Sequence[Logged]) -> list[float | None]:
        """(B,) what a function pays rows; None where it scores none. Raises as rewards do, naming the row."""
        given = [self._row(row) for row in rows]
        columns = tuple(dict.fromkeys(name for row in given for name in row))
        reference = next((n for n in REFERENCES if n in columns), "")
        chat = any(isinstance(row["prompt"], list) for row in given)
        table = Table(columns, chat, "prompt", reference)
        if named in self.functions:
            function = Reward(named, (Part(named, 1.0, calling(named, self.functions[named], table)),))
        else:
            function = reward(named, table, libraries.find)
        said = ["\n".join(t + s for t, s in zip(r.thoughts or [""] * len(r.said), r.said, strict=True)) for r in rows]
        return function.asked(given, said, list(range(len(rows))))

    def _row(self, row: Logged) -> dict[str, Json]:
        """What a function is passed: the log's own columns, and those of the data with the same prompt."""
        out = {k: v for k, v in (row.row or {}).items() if k not in ("completion", "completions")}
        out |= self.data.get(asked(row), {})
        if "prompt" not in out:
            out["prompt"] = [] if row.prompt is None else [{"role": m.role, "content": m.content} for m in row.prompt]
        if row.references and not any(n in out for n in REFERENCES):
            out["answer"] = row.references[0] if len(row.references) == 1 else list(row.references)
        return out

    def _label(self, row: Logged) -> bool | None:
        """What the label column says of a row."""
        if not self.options.label:
            return None
        column, equals, wanted = self.options.label.partition("=")
        value: Json = row.row
        for part in [column] if column in (row.row or {}) else column.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            return None
        if equals:
            return str(value) == wanted
        if isinstance(value, str):
            if value.strip().casefold() not in TRUE:
                raise UsageError(
                    f"{row.where}: {column} is {value!r:.40}, neither true nor false. Say which value is the exploit: "
                    f"--label {column}=VALUE."
                )
            return TRUE[value.strip().casefold()]
        number = number_of(value)
        return None if number is None else number >= 0.5

    # --- what was said ----------------------------------------------------------------------------------------

    def _rollouts(self, rows: Sequence[Logged], seed: int) -> tuple[list[Rollout], list[int]]:
        """(B,) rollouts, a slot for each prompt of a step, and how often the same was said before in the slot."""
        slots: dict[tuple[int, str], int] = {}
        inside, said_before = Counter[int](), Counter[tuple[int, tuple[str, ...]]]()
        per_step: dict[int, int] = defaultdict(int)
        tasks, rollouts, occurrences = dict[str, Task](), list[Rollout](), list[int]()
        for row in rows:
            task = _task(row)
            task = tasks.setdefault(task.id, task)
            step = row.step or 0
            if (step, task.id) not in slots:
                slots[step, task.id] = per_step[step]
                per_step[step] += 1
            place = slots[step, task.id]
            group = digest(step, place)
            name = f"train/{step:06d}/{place:04d}/{task.id}/{inside[group]:04d}"
            inside[group] += 1
            rollout = Rollout(name, task, tuple(_steps(row)), seed)
            occurrences.append(said_before[group, rollout.said])
            said_before[group, rollout.said] += 1
            rollouts.append(rollout)
        return rollouts, occurrences


def _steps(row: Logged) -> list[tuple[Turn, Message | Done]]:
    turns = [
        Turn(text, thoughts=thoughts) if thoughts else parted(Turn(text))
        for text, thoughts in zip(row.said, row.thoughts or [""] * len(row.said), strict=True)
    ]
    replies: list[Message | Done] = [*(Message("user", text) for text in row.between), Done()]
    return list(zip(turns, replies, strict=True))


def _task(row: Logged) -> Task:
    """The problem of a row; without a prompt and a name it is one of its own."""
    messages = row.prompt or (Message("user", ""),)
    key = json.dumps([row.cluster, [[m.role, m.content] for m in messages]])
    return Task(f"{digest(key):016x}", messages, cluster=f"{digest(row.cluster):016x}")


def _share(value: float, ends: tuple[float, float]) -> float:
    return (value - ends[0]) / (ends[1] - ends[0])


def by_prompt(path: Path) -> Rows:
    """A file of rows by their prompts. Raises UsageError where two with one prompt say different things."""
    out: dict[str, Mapping[str, Json]] = {}
    skipped: list[Skipped] = []
    for where, row in raw(path, skipped):
        column = first_of(PROMPTS, row) if isinstance(row, dict) else ""
        if not column:
            raise UsageError(
                f"{where} has no column of prompts ({', '.join(PROMPTS)}). Rename the one that holds them."
            )
        key = of_prompt(row, column).strip()
        if out.get(key, row) != row:
            raise UsageError(f"{where}: another row of the data has the same prompt, and says other things. Drop one.")
        out[key] = row
    if skipped:
        raise UsageError(f"{skipped[0].where}: {skipped[0].why}. Mend it.")
    return out
