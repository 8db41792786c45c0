"""The problems: our own one-line functions, from a small grammar, and real ones from a file."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

from loopkit.contracts import Draw, Split
from loopkit.errors import UsageError
from loopkit.parts.data import messages, read_rows, split_of
from loopkit.records import Decode, Json, Message, Task
from loopkit.seeding import digest, shuffled, stream
from loopkit.system.notices import notice

NUMBERS = {
    "plus {k}": "({}+{k})", "minus {k}": "({}-{k})", "times {k}": "({}*{k})", "squared": "({}**2)",
    "modulo {k}": "({}%{k})",
}  # fmt: skip
TEXTS = {
    "reversed": "{}[::-1]", "upper": "{}.upper()", "first {k}": "{}[:{k}]", "last {k}": "{}[-{k}:]",
    "without first": "{}[1:]", "without last": "{}[:-1]", "repeated {k}": "({}*{k})",
}  # fmt: skip
LISTS = {
    "evens": "[v for v in {} if v%2==0]", "odds": "[v for v in {} if v%2]", "above {k}": "[v for v in {} if v>{k}]",
    "doubled": "[v*2 for v in {}]", "squared": "[v*v for v in {}]", "plus {k}": "[v+{k} for v in {}]",
    "times {k}": "[v*{k} for v in {}]", "first {k}": "{}[:{k}]", "last {k}": "{}[-{k}:]", "sorted": "sorted({})",
    "reversed": "{}[::-1]",
}  # fmt: skip
ENDS = {"": "{}", "sum": "sum({})", "largest": "max({})", "smallest": "min({})", "length": "len({})"}
KINDS = ("number", "text", "list")
MEASURES = {"number": ("", "x"), "text": ("length, ", "len(x)"), "list": ("sum, ", "sum(x)")}
"""What a line is a line in."""
SIZES: dict[Split, int] = {"train": 4000, "dev": 2400, "test": 2400}
TESTS = 5
DECODE = Decode(temperature=1.0, max_tokens=160)
SYNTAX = (
    "You get a problem as a JSON object. Edit a field of it by <modify_key>field</modify_key><modify_value>new content"
    "</modify_value>; the last edit of a field counts. Write into source_code a Python function solve(x) that does the "
    "steps of the question, in their order."
)
STATE = '{{"question": "{}", "source_code": "", "score": 0}}'


def own(split: Split, beyond: float, instructions: bool) -> list[Task]:
    """Our own tasks, in a fixed order: a share of ``beyond`` asks for a line through two points. A question belongs to
    one split by its hash."""
    size = SIZES[split]
    hard = round(size * beyond)
    chosen = [*_some("line", _line, split, hard), *_some("steps", _steps, split, size - hard)]
    return [_task(*one, instructions) for one in shuffled(chosen, "problems", split, beyond)]


Problem = tuple[str, str, str, list[dict[str, Json]]]
"""kind, question, the expression that answers it, tests"""


def _some(what: str, make: Callable[[random.Random], tuple[str, str, str]], split: Split, n: int) -> list[Problem]:
    found: dict[str, Problem] = {}
    for number in range(1_000_000):
        if len(found) == n:
            break
        kind, question, expression = make(stream("problem", what, number))
        if question in found or split_of("question", question) != split:
            continue
        if (tests := _tests(kind, question, expression)) is not None:
            found[question] = (what, question, expression, tests)
    return list(found.values())


def _steps(rng: random.Random) -> tuple[str, str, str]:
    """One or two steps in a row, and for lists perhaps a number at the end."""
    kind = rng.choice(("number", "text", "list", "list"))
    words, expression = [], "x"
    for _ in range(rng.choice((1, 2))):
        said, code = rng.choice([*{"number": NUMBERS, "text": TEXTS, "list": LISTS}[kind].items()])
        k = rng.randint(2, 99 if kind == "number" else 9)
        words.append(said.format(k=k))
        expression = code.format(expression, k=k)
    if kind == "list":
        said, code = rng.choice([*ENDS.items()])
        words += [said] if said else []
        expression = code.format(expression)
    return kind, f"{kind} x: {', '.join(words)}", expression


def _line(rng: random.Random) -> tuple[str, str, str]:
    """Beyond a small policy: slope and height must be worked out of two points, in numbers of up to four digits."""
    kind = rng.choice(KINDS)
    said, measure = MEASURES[kind]
    slope, height = rng.randint(11, 99), rng.randint(100, 999)
    points = sorted(rng.sample(range(2, 30), 2))
    shown = " ".join(f"({p},{slope * p + height})" for p in points)
    return kind, f"{kind} x: {said}line through {shown}", f"{slope}*{measure}+{height}"


def _tests(kind: str, question: str, expression: str) -> list[dict[str, Json]] | None:
    """Hidden tests, different, not all alike, and not passed by ``return x``. None: there are none for it."""
    rng, solve = stream("tests", question), eval(f"lambda x: {expression}", {})  # made of the templates above
    shown = {int(n) for n in re.findall(r"\((\d+),", question)}
    found: dict[str, dict[str, Json]] = {}
    for _ in range(40):
        x = _input(kind, rng)
        measured = x if kind == "number" else sum(x) if kind == "list" else len(x)
        try:
            answer = solve(x)
        except ValueError:
            continue
        if measured not in shown:
            found.setdefault(json.dumps(x), {"input": [x], "output": answer, "shown": False})
        if len(found) == TESTS:
            most = Counter(json.dumps(t["output"]) for t in found.values()).most_common(1)[0][1]
            same = all([t["output"]] == t["input"] for t in found.values())
            return None if most > 2 or same else list(found.values())
    return None


def _input(kind: str, rng: random.Random) -> Any:
    if kind == "number":
        return rng.randint(1, 99)
    if kind == "list":
        return [rng.randint(0, 20) for _ in range(rng.randint(3, 8))]
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 10)))


def _task(what: str, question: str, expression: str, tests: list[dict[str, Json]], instructions: bool) -> Task:
    asked = Message("user", STATE.format(question), DECODE)
    return Task(
        f"{what}-{digest(question):016x}",
        (Message("system", SYNTAX), asked) if instructions else (asked,),
        public={"kind": what, "question": question, "source_code": "", "form": "function", "entry": "solve"},
        secret={"expression": expression, "tests": tests},
    )


def guess(expression: str, draw: Draw) -> str:
    """A line of the same form as ``expression``, and another one: what a policy that cannot solve for it would say."""
    slope, measure, height = re.split(r"[*+]", expression)
    found = f"{11 + int(draw('slope') * 89)}*{measure}+{100 + int(draw('height') * 900)}"
    return f"{slope}*{measure}+{int(height) % 900 + 100}" if found == expression else found


def other(task: Task, draw: Draw) -> str:
    """The solution of another problem of the same kind of input; of a real one, x."""
    kind = task.public["question"].split()[0]
    if task.public["kind"] == "real":
        return "x"
    for number in count():
        found, _, expression = _steps(stream("other", draw(f"other {number}")))
        if found == kind and expression != task.secret["expression"]:
            return expression
    raise AssertionError


# --- from a file ------------------------------------------------------------------------------------------------------


METHOD = re.compile(r"class\s+Solution\b.*?\bdef\s+(\w+)\s*\(", re.DOTALL)
BLANK = re.compile(r"\s+")


def real(path: str, max_tokens: int) -> dict[Split, tuple[Task, ...]]:
    """Problems from a file. ``reward_model.test_cases`` is a list of {input, output} texts; a ``canonical_solution``
    that holds a class Solution names the method to call, with one JSON argument a line; without, inputs are stdin.

    Rows without tests are left out, and named in a notice. Equal prompts are kept once. Split 60/20/20 by a hash of the
    prompt. Raises UsageError naming a row that cannot be played.
    """
    out: dict[Split, dict[str, Task]] = {"train": {}, "dev": {}, "test": {}}
    without: list[str] = []
    for number, row in enumerate(read_rows(path, ("prompt", "reward_model"))):
        where, model = f"{path}, row {number}", row["reward_model"]
        if not isinstance(model, Mapping):
            raise UsageError(f"{where}: reward_model must be an object with test_cases. Mend the row.")
        cases = model.get("test_cases")
        if cases is None or (isinstance(cases, list) and not cases):
            without.append(f"row {number} ({model.get('problem_id') or 'no problem_id'})")
            continue
        asked = messages(row, where)
        state = _state(asked[-1].content, where)
        starter = METHOD.search(str(model.get("canonical_solution") or ""))
        tests = [t for case in _list(cases, where) for t in _read(case, bool(starter), state["question"], where)]
        id_ = f"{digest([m.content for m in asked]):016x}"
        task = Task(
            id_,
            (*asked[:-1], Message(asked[-1].role, asked[-1].content, Decode(1.0, max_tokens))),
            public={
                "kind": "real",
                "name": str(model.get("problem_id") or f"row {number}"),
                "question": state["question"],
                "source_code": state["source_code"],
                "form": "function" if starter else "script",
                "entry": f"Solution.{starter[1]}" if starter else "",
                "tests": [t for t in tests if t["shown"]],  # the prompt shows them: they are no secret
            },
            secret={"expression": None, "tests": [t for t in tests if not t["shown"]]},
        )
        out[split_of("prompt", id_)].setdefault(id_, task)
    if without:
        notice("rows without tests are left out", file=path, rows=without, count=len(without))
    return {split: tuple(tasks.values()) for split, tasks in out.items()}


def _list(cases: Any, where: str) -> list[Any]:
    if not isinstance(cases, list):
        raise UsageError(f"{where}: reward_model.test_cases must be a list of {{input, output}}. Mend the row.")
    return cases


def _state(content: str, where: str) -> dict[str, str]:
    try:
        state = json.loads(content)
        question, source = state["question"], state.get("source_code", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{where}: the last message must be a JSON object {{question, source_code, score}}. Mend the row."
        ) from error
    if not isinstance(question, str) or not isinstance(source, str):
        raise UsageError(f"{where}: question and source_code of the last message must be text. Mend the row.")
    return {"question": question, "source_code": source}


def _read(case: Any, function: bool, question: str, where: str) -> Iterator[dict[str, Json]]:
    given, answer = (case.get("input"), case.get("output")) if isinstance(case, Mapping) else (None, None)
    if not isinstance(given, str) or not isinstance(answer, str):
        raise UsageError(f"{where}: each of test_cases must be {{input, output}}, both text. Mend the row.")
    shown = _shown(given, answer, function, question)
    if not function:
        yield {"input": given, "output": answer, "shown": shown}
        return
    try:
        arguments, value = [_json(line) for line in given.splitlines() if line.strip()], _json(answer)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{where}: a method is called with one JSON argument a line, and returns JSON; a test holds {error}. "
            "Mend the row, or leave canonical_solution empty for a script."
        ) from error
    yield {"input": arguments, "output": value, "shown": shown}


def _json(text: str) -> Json:
    def none(name: str) -> Json:
        raise ValueError(f"{name}, which is no JSON")

    return json.loads(text, parse_constant=none)


def _shown(given: str, answer: str, function: bool, question: str) -> bool:
    """Whether the question shows the test as a sample: its input right before its output, whatever the blanks."""
    text, answer = BLANK.sub("", question), re.escape(BLANK.sub("", answer))
    if function:
        arguments = ",".join(rf"\w+={re.escape(BLANK.sub('', line))}" for line in given.splitlines() if line.strip())
        return re.search(rf"Input:{arguments}Output:{answer}", text) is not None
    return re.search(rf"Input\d*:?{re.escape(BLANK.sub('', given))}SampleOutput\d*:?{answer}", text) is not None
