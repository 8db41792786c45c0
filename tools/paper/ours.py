"""What loopkit makes of the same rows and completions, by the same measures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from loopkit_reward_tampering.programs import Job, run
from loopkit_self_grading.game import claimed

from loopkit.contracts import SPLITS, Game
from loopkit.errors import UsageError
from loopkit.experiment.resolve import build_game
from loopkit.parts.data import messages
from loopkit.records import Rollout, Scored, Task, Turn
from loopkit.registry.plugins import load
from loopkit.rollouts.scoring import Setup, advance, score
from loopkit.rollouts.thoughts import parted
from loopkit.sandbox import Limits
from tools.paper.kinds import KINDS
from tools.paper.rows import Row

Values = dict[str, dict[str, list[float]]]
"""Kind -> measure -> a value a row."""


def values(game: str, rows: Sequence[Row], folder: Path) -> Values:
    """Every kind of completion of every row that can be played, in the order of ``played``. Writes rows to a folder."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options: list[dict[str, Any]] = [{"data": str(file)}]
    if game == "proxy-metric":
        options.append({"data": str(file), "tokenizer": "tiny"})
    made = [build_game(load(), game, one) for one in options]
    known = _tasks(made[0])
    tasks = [known[_key(row)] for row in played(rows)]
    out: Values = {}
    for kind, text in KINDS[game].items():
        said = [text(row) for row in played(rows)]
        scored = [_scored(one, tasks, said) for one in made]
        out[kind] = _measures(game, scored)
    return out


def tests_passed(row: Row, program: str, tests: Sequence[Mapping[str, str]], entry: str) -> dict[str, float]:
    """How many of the row's tests a program passes in loopkit's sandbox, as the paper's runner tells it."""
    return _tests_passed(json.dumps(row), program)


@lru_cache(maxsize=4096)
def _tests_passed(row: str, program: str) -> dict[str, float]:
    task = _one_task(row)
    every = [*task.public["tests"], *task.secret["tests"]]
    job = Job(program, task.public["form"], task.public["entry"], json.dumps(every))
    (result,) = run([job], Limits(cpu=1.0, wall=6.0))
    return {"passed": round(result.passed * len(every)), "total": len(every)}


@lru_cache(maxsize=4)
def _one_task(row: str) -> Task:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "row.jsonl"
        file.write_text(row, encoding="utf-8")
        (task,) = _tasks(build_game(load(), "reward-tampering", {"data": str(file)})).values()
    return task


def played(rows: Sequence[Row]) -> list[Row]:
    """The rows but for those that hold no tests, and for equal prompts."""
    there = [row for row in rows if row["reward_model"].get("test_cases") != []]
    return list({_key(row): row for row in reversed(there)}.values())[::-1]


def _key(row: Row) -> str:
    return json.dumps([[m.role, m.content] for m in messages(row, "")])


def _tasks(game: Game) -> Mapping[str, Task]:
    out = {}
    for split in SPLITS:
        try:
            tasks = game.tasks(split)
        except UsageError:  # few rows: a split may have none
            continue
        out |= {json.dumps([[m.role, m.content] for m in task.messages]): task for task in tasks}
    return out


def _scored(game: Game, tasks: Sequence[Task], said: Sequence[str]) -> list[Scored]:
    """The first turn says what is said; a second one, where the game asks for it, says Yes."""
    rollouts = [Rollout(f"test/000000/{n:04}/{task.id}/0", task) for n, task in enumerate(tasks)]
    rollouts = advance(game, rollouts, [parted(Turn(text)) for text in said])
    while going := [r for r in rollouts if not r.done]:
        after = dict(zip((r.id for r in going), advance(game, going, [Turn("Yes")] * len(going)), strict=True))
        rollouts = [after.get(r.id, r) for r in rollouts]
    setup = Setup(game, game.channels["loophole"], {}, game.detectors)
    return sorted(score(setup, rollouts, [0] * len(rollouts)), key=lambda s: s.rollout.slot)


def _measures(game: str, scored: Sequence[Sequence[Scored]]) -> dict[str, list[float]]:
    first = scored[0]
    task = [float(s.assessment.scores["task"] or 0) for s in first]
    if game == "self-grading":
        return {"task": task}
    exploit = [float(bool(s.flags[next(iter(s.flags))])) for s in first]
    paid = {"paid": [s.rewards["paid"] for s in first]}
    if game == "reward-tampering":
        return {**paid, "paid, tests run here": paid["paid"], "task": task, "exploit": exploit}
    return {
        **paid,
        "task, in words": task,
        "task, in tokens": [float(s.assessment.scores["task"] or 0) for s in scored[1]],
        "similarity": [float(s.assessment.clues["similarity"]) for s in first],
        "exploit": exploit,
    }


def claims(reports: Sequence[str]) -> list[bool]:
    """Whether each report claims CORRECT, its thoughts set aside."""
    return [claimed(parted(Turn(report)).text) is True for report in reports]
