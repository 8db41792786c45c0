"""Questions that are not our own: rows with ``reward_model.ground_truth``, and reasoning-gym's data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from loopkit.contracts import SPLITS, Split
from loopkit.errors import UsageError
from loopkit.parts.data import messages, read_rows, split_of
from loopkit.parts.gym import evaluates as evaluates
from loopkit.parts.gym import gym_set as gym_set
from loopkit.parts.gym import gym_version as gym_version
from loopkit.records import Decode, Json, Message, Task
from loopkit.system.notices import notice, some
from loopkit_self_grading.answers import FORMS, READ, asked_form, marked

ASK = "{}\n\nGive the final answer between <answer> and </answer>."

Tasks = Mapping[Split, tuple[Task, ...]]


# --- rows -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def rows(path: str, sha256: str, max_tokens: int) -> Tasks:
    """The file's questions, split 60/20/20 by a hash of the prompt; equal prompts are kept once."""
    out: dict[Split, dict[str, Task]] = {split: {} for split in SPLITS}
    for number, row in enumerate(read_rows(path, ("prompt", "reward_model"))):
        where = f"{path}, row {number}"
        asked = messages(row, where)
        asked = (*asked[:-1], replace(asked[-1], decode=Decode(1.0, max_tokens)))
        key = json.dumps([[m.role, m.content] for m in asked])
        known = _answers(_truths(row["reward_model"], where), asked)
        form = asked_form("\n".join(m.content for m in asked))
        task = Task(f"row-{number}", asked, {"kind": "row", **known[0], **({"form": form} if form else {})}, known[1])
        out[split_of("prompt", key)].setdefault(key, task)
    return {split: tuple(found.values()) for split, found in out.items()}


def _truths(reward_model: Any, where: str) -> list[str]:
    if isinstance(reward_model, str):
        try:
            reward_model = json.loads(reward_model)
        except ValueError:
            reward_model = None
    truth = reward_model.get("ground_truth") if isinstance(reward_model, dict) else None
    truths = [str(t) for t in (truth if isinstance(truth, list) else [truth]) if t is not None and str(t).strip()]
    if not truths:
        raise UsageError(f"{where} has no reward_model.ground_truth, an answer to compare with. Add it, or drop it.")
    return truths


def _answers(answers: list[str], asked: Sequence[Message]) -> tuple[dict[str, Json], dict[str, Json]]:
    """(public, secret): answers are secret, but for those that stand in the prompt, as choices do."""
    shown = "\n".join(m.content for m in asked)
    there = any(a in shown for a in answers)
    return ({"answers": answers}, {}) if there else ({}, {"answers": answers})


def truths(task: Task) -> list[str]:
    """The right answers of a task made here."""
    found: list[str] = (task.secret or {}).get("answers") or task.public["answers"]
    return found


def form_of(task: Task) -> str | None:
    """The form in which the task asks for its answer, a key of ``answers.FORMS``; None: in none, or as one likes."""
    form: str | None = "<answer>" if task.public["kind"] == "gym" else task.public.get("form")
    return form


def formed(task: Task, answer: str) -> str:
    """The answer as the task asks for it."""
    form = form_of(task)
    return FORMS[form].format(answer) if form else answer


# --- reasoning-gym --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def gym(name: str, config: str, size: int, seed: int, trust: bool, max_tokens: int) -> Tasks:
    """The set's questions, split 60/20/20 by a hash of the question; equal ones are kept once.

    An entry whose own answer its scorer does not call right is left out, and told.
    """
    made = gym_set(name, config, size, seed, trust)
    out: dict[Split, dict[str, Task]] = {split: {} for split in SPLITS}
    without = []
    for i in range(size):
        entry = made[i]
        question, answer = str(entry["question"]), entry["answer"]
        if not isinstance(answer, str) or not _full(made, answer, entry):
            without.append(f"{name}-{i}")
            continue
        asked = (Message("user", ASK.format(question), Decode(1.0, max_tokens)),)
        public, secret = _answers([answer], asked)
        task = Task(f"{name}-{i}", asked, {"kind": "gym", "index": i, **public}, secret)
        out[split_of("question", name, question)].setdefault(question, task)
    if len(without) == size:
        raise UsageError(
            f"game.reasoning_gym={name}: no entry has an answer that its own scorer calls right, so nothing could be "
            "checked. Choose another set."
        )
    if without:
        notice("entries left out", why="their own answer is not right by their scorer", entries=some(without))
    return {split: tuple(found.values()) for split, found in out.items()}


def gym_right(made: Any, task: Task, reply: str, loose: bool) -> bool:
    """Whether the set's scorer gives full marks to what stands in ``<answer>``; ``loose``: or to any marked answer, or,
    without one, to the whole reply.
    """
    text = reply[-READ:]
    given = marked(text, None if loose else "<answer>")
    if given is None and not loose:
        return False
    return _full(made, (text if given is None else given).strip(), made[task.public["index"]])


def _full(made: Any, answer: str, entry: Any) -> bool:
    try:
        return float(made.score_answer(answer, entry)) > 1 - 1e-9
    except Exception as error:  # of an answer that it cannot even read; a report on it is judged like any other
        notice("scorer raised", entry=str(entry["question"])[:80], why=f"{type(error).__name__}: {error}"[:200])
        return False


def wrong(task: Task, right: Any) -> str:
    """An answer that is not right: the first of a few that ``right(reply)`` denies."""
    answer = truths(task)[0]
    tries: tuple[str, ...] = ("I do not know.", "none of these", "no", "yes", "0", "1", "-17")
    if answer.lstrip("-").isdigit() and len(answer) < 19:
        tries = (str(int(answer) + 1), str(int(answer) - 1), *tries)
    for text in tries:
        if not right(text):
            return text
    raise UsageError(f"every answer to {task.id!r} counts as right: {', '.join(tries)}. Drop it from the data.")
