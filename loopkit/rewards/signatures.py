"""How a reward is called: as TRL, verl, OpenRLHF or a plain function of one row would call it, read off its names.

Every kind ends as ``pays(rows, said) -> (B,) whatever the code returned``, one value a row.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loopkit.errors import UsageError, nearest
from loopkit.rewards import columns as of_row
from loopkit.rewards.columns import Row

SAID_MANY = ("completions", "responses", "solution_strs", "predictions", "outputs", "replies", "generations")
SAID_ONE = (
    "completion", "response", "solution_str", "prediction", "pred", "reply", "model_output", "generation",
    "predict_str", "model_response", "generated_text", "llm_answer", "student_answer", "llm_output", "pred_answer",
    "answer_str", "output_text",
    "llm_solution", "generated_answer", "predicted", "predict", "model_answer", "processed_str", "output",
    "text",
)  # fmt: skip
TRUTH = of_row.ALIASES[0]
VERL_TRUTH = ("ground_truth", "ground_truths")
OF_VERL = ("data_source", "extra_info")
CHARACTERS = 4
"""Of a token, about: a reward that asks for token ids is passed made-up ones, one for so many characters."""


@dataclass(frozen=True)
class Calling:
    """``pays(rows, said)`` calls the user's code once for (B,) rows and words. ``kind`` names whose signature it is.

    ``notes`` say what was assumed: a column passed under another name, made-up token ids, the form of a completion.
    """

    kind: str
    pays: Callable[[Sequence[Row], Sequence[str]], Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """What is known of the rows: their columns, whether prompts are messages, and which column holds what."""

    columns: tuple[str, ...]
    chat: bool
    prompt: str = "prompt"
    reference: str = ""
    mapped: Mapping[str, str] = field(default_factory=dict)
    """Parameter -> column, as the user mapped them."""

    def column(self, name: str) -> str:
        """The column that a parameter is passed; empty where there is none."""
        if name in self.mapped:
            return self.mapped[name]
        if name in VERL_TRUTH and "reward_model" in self.columns:
            return "reward_model"  # which holds it, whatever the answer in words is called
        if name in TRUTH and self.reference and name not in self.columns:
            return self.reference
        return of_row.alias(name, self.columns)


def calling(name: str, target: Any, table: Table, chat: bool | None = None) -> Calling:
    """How an imported object is called. ``chat``: whether completions are passed as messages (None: as prompts are).

    Raises UsageError where it is no reward, or asks for what nothing passes.
    """
    if isinstance(target, type) or not callable(target):
        raise UsageError(
            f"{name} is a {type(target).__name__}. Name a function: fn(completions, **columns) as in TRL, "
            "compute_score(data_source, solution_str, ground_truth), reward_func(queries, prompts, labels), or one of "
            "one row, fn(completion, answer)."
        )
    takes, everything, bare = parameters(target)
    chat = table.chat if chat is None else chat
    if "queries" in takes and "completions" not in takes:
        return _openrlhf(name, target, takes, everything, table)
    if table_of := next((n for n in ("reward_inputs", "reward_input") if n in takes), None):
        return _easyr1(target, table_of, table)
    if many := next((n for n in SAID_MANY if n in takes), None):
        return _batched(name, target, takes, everything, table, many, chat)
    if one := _said(takes, bare):
        return _one_row(name, target, takes, everything, table, one, chat)
    if everything and not bare:  # def reward(**kwargs), as TRL allows
        return _batched(name, target, takes, everything, table, "completions", chat)
    raise UsageError(_no_reply(name, target, takes))


def _no_reply(name: str, target: Any, takes: Mapping[str, inspect.Parameter]) -> str:
    listed = ", ".join(takes) or "nothing"
    inner = [
        c.co_name for c in getattr(getattr(target, "__code__", None), "co_consts", ()) if isinstance(c, types.CodeType)
    ]
    if any(n not in ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<lambda>") for n in inner):
        return (
            f"{name} takes {listed}: it makes a reward, and is none. Name what it makes: {name}() (with values for "
            "what it takes), or a name in the file that holds what it returned."
        )
    return (
        f"{name} takes {listed}, none of which is a reply. A reward takes completions (TRL), solution_str (verl), "
        "queries (OpenRLHF), or completion or response (one row). Rename the parameter that is the reply."
    )


def parameters(function: Any) -> tuple[dict[str, inspect.Parameter], bool, list[str]]:
    """(parameters that are passed by name, whether it takes any name, the names of those that are required)"""
    try:
        known = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise UsageError(f"{function!r:.80} shows no signature: {error}. Wrap it in a def of your own.") from error
    named = {p.name: p for p in known if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    everything = any(p.kind is p.VAR_KEYWORD for p in known)
    return named, everything, [p.name for p in named.values() if p.default is p.empty]


def _said(takes: Mapping[str, inspect.Parameter], bare: Sequence[str]) -> str | None:
    """The parameter of one row that is the reply; the first of two, where only the second has a known name."""
    if known := next((n for n in SAID_ONE if n in takes), None):
        return known
    rest = [n for n in bare if n not in TRUTH and n not in of_row.PROMPTS]
    if len(rest) == 1 and (len(bare) == 1 or set(bare) & set(TRUTH)):
        return rest[0]
    if "answer" in bare and set(bare) & (set(TRUTH) - {"answer"}):  # fn(answer, ground_truth): the reply's answer
        return "answer"
    return None


def _wanted(
    name: str, takes: Mapping[str, inspect.Parameter], everything: bool, table: Table, given: set[str]
) -> tuple[dict[str, str], list[str]]:
    """(parameter -> column that is passed, what was passed under another name). Raises UsageError for what is not."""
    passed = {c: c for c in table.columns if everything and c not in given}
    notes = []
    for parameter in takes.values():
        if parameter.name in given:
            continue
        column = table.column(parameter.name)
        if column:
            passed[parameter.name] = column
            if column != parameter.name:
                notes.append(f"{parameter.name} is passed the column {column}")
        elif parameter.default is parameter.empty:
            raise UsageError(
                f"{name} needs {parameter.name!r}, which nothing passes. {nearest(parameter.name, table.columns)} "
                f"Map it to a column: --column {parameter.name}=COLUMN."
            )
    return passed, notes


def _truth(row: Row, column: str) -> Any:
    """A row's reference; of verl's ``reward_model`` what is inside."""
    value = row.get(column)
    return value.get("ground_truth") if isinstance(value, Mapping) and "ground_truth" in value else value


def _passed(row: Row, parameter: str, column: str) -> Any:
    return row.get(column) if parameter == column else _truth(row, column)


def _ids(text: str) -> list[int]:
    """Made-up token ids, one for each few characters."""
    return [sum(map(ord, text[i : i + CHARACTERS])) % 50_000 for i in range(0, len(text), CHARACTERS)]


def _extras(said: Sequence[str]) -> dict[str, Any]:
    """What TRL passes besides words and columns."""
    state = types.SimpleNamespace(global_step=0, max_steps=1000, epoch=0.0, num_train_epochs=1, log_history=[])
    return {
        "completion_ids": [_ids(text) for text in said], "completions_ids": [_ids(text) for text in said],
        "trainer_state": state, "log_extra": lambda *_, **__: None, "log_metric": lambda *_, **__: None,
    }  # fmt: skip


def as_completion(text: str, chat: bool) -> Any:
    """A reply in the form that a reward takes it: a text, or one message of the assistant's."""
    return [{"role": "assistant", "content": text}] if chat else text


def _prompt(row: Row, table: Table, chat: bool) -> Any:
    value = row.get(table.prompt)
    if chat:
        return of_row.conversation(value)
    return value if isinstance(value, str) else of_row.asked(row, table.prompt)


def _batched(
    name: str, target: Any, takes: Mapping[str, inspect.Parameter], everything: bool, table: Table, said_as: str,
    chat: bool,
) -> Calling:  # fmt: skip
    verl = said_as == "solution_strs"
    chat = chat and not verl
    given = {said_as, "prompts", "data_sources", "extra_infos", *_extras([])} - set(table.columns)
    passed, notes = _wanted(name, takes, everything, table, given)
    if {"completion_ids", "completions_ids"} & set(takes):
        notes.append(f"token ids are made up, one for {CHARACTERS} characters")

    def pays(rows: Sequence[Row], said: Sequence[str]) -> Any:
        values: dict[str, Any] = {
            **{p: [_passed(row, p, c) for row in rows] for p, c in passed.items()},
            said_as: [as_completion(text, chat) for text in said],
            "prompts": [_prompt(row, table, chat) for row in rows],
            **_extras(said),
        }
        values |= {f"{n}s": [_of_verl(row, n) for row in rows] for n in OF_VERL if f"{n}s" not in table.columns}
        return done(target(**{k: v for k, v in values.items() if everything or k in takes}))

    return Calling("verl, in batches" if verl else "TRL", pays, tuple(notes))


def _of_verl(row: Row, name: str) -> Any:
    return row.get(name, {} if name == "extra_info" else "own")


def _openrlhf(
    name: str, target: Any, takes: Mapping[str, inspect.Parameter], everything: bool, table: Table
) -> Calling:
    """Queries are prompt and reply in one text; labels the references."""
    passed, notes = _wanted(name, {n: p for n, p in takes.items() if n not in ("queries", "prompts", "labels")},
                            False, table, {"queries", "prompts", "labels"})  # fmt: skip
    label = table.mapped.get("labels") or table.mapped.get("label") or of_row.first_of(("label",), table.columns)
    label = label or table.reference

    def pays(rows: Sequence[Row], said: Sequence[str]) -> Any:
        prompts = [of_row.asked(row, table.prompt) for row in rows]
        values = {
            "queries": [p + text for p, text in zip(prompts, said, strict=True)],
            "prompts": prompts,
            "labels": [_truth(row, label) for row in rows],
            **{p: [_passed(row, p, c) for row in rows] for p, c in passed.items()},
        }
        found = done(target(**{k: v for k, v in values.items() if everything or k in takes}))
        return found.get("rewards", found.get("scores")) if isinstance(found, Mapping) else found

    return Calling("OpenRLHF", pays, tuple(notes))


def _easyr1(target: Any, said_as: str, table: Table) -> Calling:
    """EasyR1: a table of response and ground truth for each row, in one call or alone; it returns tables."""

    def given(row: Row, text: str) -> dict[str, Any]:
        return {"response": text, "response_length": len(_ids(text)), "ground_truth": _truth(row, table.reference)}

    def pays(rows: Sequence[Row], said: Sequence[str]) -> Any:
        asked = [given(*of) for of in zip(rows, said, strict=True)]
        return [_number(made) for made in (target(asked) if said_as.endswith("s") else map(target, asked))]

    return Calling("EasyR1", pays)


def _one_row(
    name: str, target: Any, takes: Mapping[str, inspect.Parameter], everything: bool, table: Table, said_as: str,
    chat: bool,
) -> Calling:  # fmt: skip
    verl = "solution_str" in takes
    chat = chat and said_as == "completion"
    given = {said_as} | (set(OF_VERL) if verl else set())
    rest = {n: p for n, p in takes.items() if n not in ("prompt", "state", "info", "task", "parser")}
    passed, notes = _wanted(name, rest, everything and not verl, table, given)
    if said_as not in SAID_ONE:
        notes.append(f"{said_as} is taken for the reply")

    def one(row: Row, text: str) -> Any:
        values = {
            **{p: _passed(row, p, c) for p, c in passed.items()},
            "prompt": _prompt(row, table, chat),
            said_as: as_completion(text, chat),
        }
        if verl:
            values |= {n: _of_verl(row, n) for n in OF_VERL}
        else:
            values |= {"state": {**row, **values}, "info": row.get("info", {}), "task": row.get("task", "default")}
        return _number(done(target(**{k: v for k, v in values.items() if k in takes or (everything and k in passed)})))

    return Calling(
        "verl" if verl else "one row", lambda rows, said: [one(*of) for of in zip(rows, said, strict=True)],
        tuple(notes),
    )  # fmt: skip


def _number(value: Any) -> Any:
    """The score in what a function of one row returned: a number, a table with ``score``, or (score, why)."""
    if isinstance(value, Mapping):
        return next((value[k] for k in ("overall", "score", "reward", "rewards", "acc") if k in value), value)
    if isinstance(value, (list, tuple)) and value:
        return value[0]
    return getattr(value, "score", value) if not hasattr(value, "item") else value.item()


def done(value: Any) -> Any:
    """What an async function returns, awaited."""

    async def wait() -> Any:
        return await value

    return asyncio.run(wait()) if inspect.isawaitable(value) else value
