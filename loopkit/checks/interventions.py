"""Proves that an intervention keeps to its contract: that it changes what it says, purely, and rollout by rollout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from loopkit import seeding
from loopkit.checks.declared import first_line, strict
from loopkit.checks.report import Book, Complaints, Report
from loopkit.contracts import SPLITS, Draw, Game
from loopkit.interventions import CHANGES, Flag, Intervention, kept, paid
from loopkit.records import Json, Message

N = 64
"""Made-up rollouts whose pay, flags and draws it is asked about."""
TASKS = 12


def check_intervention(
    cls: type[Intervention],
    *,
    game: Game,
    trainer: type[Any] | None = None,
    options: Mapping[str, Json] | None = None,
    name: str = "",
) -> Report:
    """Proves that an intervention keeps to its contract. Answers "proven" or "fails".

    ``game``: whose prompts it is shown; ``trainer``: whose options it may change (None: that is not checked);
    ``options``: of the intervention, such as a preset.
    """
    book = Book(name or f"intervention {cls.__name__}")
    made: list[Intervention] = []
    if not book.holds("intervention", _declared(cls, options or {}, made)):
        return book.report()
    (one,) = made
    rewards = [8 * seeding.uniform("reward", i) - 4 for i in range(N)]
    flags: list[Flag] = [seeding.pick([True, False, None], "flag", i) for i in range(N)]
    draws: list[Draw] = [partial(seeding.uniform, "draw", i) for i in range(N)]
    book.holds("pay", _pure("pay()", lambda at: paid(book.name, one, *_at(at, rewards, flags, draws)), finite=True))
    book.holds("keep", _pure("keep()", lambda at: kept(book.name, one, *_at(at, flags, draws)), finite=False))
    book.holds("prompt", _prompt(one, game))
    book.holds("settings", _trainer(one, trainer))
    book.holds("stop", _stop(one))
    return book.report()


def _declared(cls: type[Intervention], options: Mapping[str, Json], made: list[Intervention]) -> Complaints:
    yield from strict("The intervention", cls)
    if not (cls.__doc__ or "").strip() or cls.__doc__ == Intervention.__doc__:
        yield "It has no docstring. Say in one line what it does: `loopkit list` shows it."
    if not cls.changes():
        yield f"It changes nothing. Override one or more of {', '.join(CHANGES)}."
    try:
        one = cls.model_validate(dict(options))
    except ValueError as error:
        yield f"It cannot be made without options ({first_line(error)}). Give each field a default, or a preset."
        return ""
    if cls.model_validate(one.model_dump(mode="json")) != one:
        yield "Its options do not survive JSON. Use fields of JSON's types."
    if one.by_instruction and "prompt" not in cls.changes():
        yield "by_instruction is set, and prompt() is not overridden. Override it, or leave by_instruction out."
    made.append(one)
    return f"{len(cls.model_fields)} options; it changes {', '.join(sorted(cls.changes()))}"


def _at(places: Sequence[int], *columns: Sequence[Any]) -> list[list[Any]]:
    return [[column[i] for i in places] for column in columns]


def _pure(who: str, ask: Callable[[Sequence[int]], list[Any]], *, finite: bool) -> Complaints:
    """Asked again, reversed, in halves, one by one, and of nothing: the same answers."""
    every = list(range(N))
    first = ask(every)
    if finite and not all(abs(value) < float("inf") for value in first):
        yield f"{who} returned {first}, of which some are not finite. Return finite numbers."
    alike = {
        "asked again": ask(every),
        "reversed": ask(every[::-1])[::-1],
        "in halves": ask(every[: N // 2]) + ask(every[N // 2 :]),
        "one by one": [value for i in every for value in ask([i])],
    }
    for way, answer in alike.items():
        if answer != first:
            yield f"{who} answers otherwise when {way}. Compute each rollout's from itself and its draw alone."
    if ask([]) != []:
        yield f"{who} of no rollout returned something. Return an empty list."
    return f"{N} rollouts"


def _prompt(one: Intervention, game: Game) -> Complaints:
    tasks = [task for split in SPLITS for task in game.tasks(split)[:TASKS]]
    for task in tasks:
        out, before = tuple(one.prompt(task.messages)), task.messages
        if not out or not all(isinstance(m, Message) for m in out):
            yield "prompt() returned something that is no messages. Return the messages, with what is added."
            return ""
        if out[-1].role != before[-1].role or (out[-1].decode, out[-1].state) != (before[-1].decode, before[-1].state):
            yield "prompt() changed the last message's role, decode or state. Use dataclasses.replace(m, content=…)."
        if tuple(one.prompt(task.messages)) != out:
            yield "prompt() answers otherwise when asked again. Make it a pure function of the messages."
    return f"{len(tasks)} prompts"


def _trainer(one: Intervention, trainer: type[Any] | None) -> Complaints:
    if trainer is None or "trainer" not in one.changes():
        return "none is changed"
    options = trainer.Options().model_dump(mode="json")
    changes = one.trainer(dict(options))
    try:
        trainer.Options.model_validate({**options, **changes})
    except ValueError as error:
        yield f"trainer() makes options that cannot be ({first_line(error)}). Change options that the trainer has."
    if changes.items() <= options.items():
        yield "trainer() changes nothing at the defaults. Return the options that change, or raise UsageError."
    return ", ".join(f"{k}={v}" for k, v in changes.items())


def _stop(one: Intervention) -> Complaints:
    for rates in ([], [None], [None] * 9, [0.0] * 9, [1.0] * 9, [0.0, None, 0.5, 1.0, 1.0, 1.0]):
        answer = one.stop(list(rates))
        if not isinstance(answer, bool):
            yield f"stop({rates}) returned {answer!r:.40}. Return True or False."
        elif answer and all(rate is None for rate in rates):
            yield f"stop({rates}) ends training before anything was measured. Return False."
        elif answer != one.stop(list(rates)):
            yield "stop() answers otherwise when asked again. Make it a pure function of the rates."
    return ""
