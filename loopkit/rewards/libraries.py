"""Rewards that come as objects of a library: reasoning-gym's sets, a taskset of verifiers 0.4."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from loopkit.parts.gym import gym_set
from loopkit.rewards import source
from loopkit.rewards.columns import Row
from loopkit.rewards.reward import Part, Reward, parts, reward
from loopkit.rewards.signatures import Calling, Table, done

GYM = "reasoning-gym:"
ASK = "{}\n\nGive the final answer between <answer> and </answer>."
GYM_ROWS = 100
TASKS = 200
"""Rows taken from a set that makes its own."""


def _taskset(target: Any) -> bool:
    """Whether this is a taskset of verifiers: a class or object with ``load()``, whose tasks score traces."""
    cls = target if isinstance(target, type) else type(target)
    return any(c.__name__ == "Taskset" and c.__module__.startswith("verifiers") for c in cls.__mro__)


def rows(spec: str) -> list[dict[str, Any]]:
    """The rows of a reward that brings its own, as plain data; empty for one that does not."""
    if spec.startswith(GYM):
        made = _gym(spec)
        entries = [made[i] for i in range(GYM_ROWS)]
        answers = [None if e["answer"] is None else str(e["answer"]) for e in entries]  # some sets have many right ones
        return [
            {"prompt": ASK.format(e["question"]), "answer": a, "index": i}
            for i, (e, a) in enumerate(zip(entries, answers, strict=True))
        ]
    out = []
    for _, named in parts(spec):
        target = source.load(named)
        if _taskset(target):
            for index, task in enumerate(_tasks(named)):
                data = json.loads(task.data.model_dump_json())
                out.append({**data, "prompt": task.data.prompt_text, "index": index})
    return out


@lru_cache(maxsize=2)
def _tasks(named: str) -> tuple[Any, ...]:
    from itertools import islice

    target = source.load(named)
    made = target(_config(target)) if isinstance(target, type) else target
    return tuple(islice(iter(made), TASKS))


def _config(cls: Any) -> Any:
    """The default settings of a taskset's class."""
    from verifiers.v1.taskset import TasksetConfig
    from verifiers.v1.utils.generic import concrete_type

    return (concrete_type(cls, TasksetConfig) or TasksetConfig)()


def find(name: str, target: Any, table: Table) -> Calling | None:
    """How an object of a library is called; None for anything else."""
    return Calling("verifiers 0.4", _of_tasks(name)) if _taskset(target) else None


def _of_tasks(name: str) -> Callable[[Sequence[Row], Sequence[str]], Any]:
    """Each reply as the last message of a trace, scored as verifiers scores offline, without judges and boxes."""
    import verifiers.v1 as vf
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.trace import TraceTask
    from verifiers.v1.types import AssistantMessage, UserMessage

    async def one(task: Any, said: str) -> float:
        seed = TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash)
        agent = vf.AgentInfo(config=vf.AgentConfig(), name="probe", trainable=False)
        trace: Any = vf.Trace(task=seed, agent=agent)
        trace.nodes.append(MessageNode(message=UserMessage(content=task.data.prompt_text)))
        trace.nodes.append(MessageNode(parent=0, message=AssistantMessage(content=said), sampled=True))
        trace.root_reply = said
        await task.score(trace)
        return float(trace.reward)

    return lambda rows, said: [
        done(one(_tasks(name)[row["index"]], text)) for row, text in zip(rows, said, strict=True)
    ]


def own(spec: str, table: Table, chat: bool | None = None) -> Reward:
    """The reward that ``spec`` names, of a library or not, ready to be asked."""
    if spec.startswith(GYM):
        return Reward(spec, (Part(spec, 1.0, gym_calling(_gym(spec))),))
    return reward(spec, table, find, chat)


def _gym(spec: str) -> Any:
    return gym_set(spec.removeprefix(GYM), "{}", GYM_ROWS, 0, True, "--reward reasoning-gym")


def answer_in(said: str) -> str:
    """What stands in the last ``<answer>``, else the whole reply: what reasoning-gym's scorers are given."""
    _, opened, rest = said.rpartition("<answer>")
    return (rest.partition("</answer>")[0] if opened else said).strip()


def gym_calling(data_set: Any) -> Calling:
    """A reasoning-gym set's own scorer, over rows that hold their entry's number as ``index``."""
    entries: dict[int, Any] = {}  # a set makes an entry anew whenever it is asked for it

    def score(index: int, text: str) -> Any:
        if index not in entries:
            entries[index] = data_set[index]
        return data_set.score_answer(answer_in(text), entries[index])

    return Calling(
        "reasoning-gym",
        lambda rows, said: [score(row["index"], text) for row, text in zip(rows, said, strict=True)],
    )
