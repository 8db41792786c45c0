"""Whatever a program leaves in its answer file becomes outcomes: no bytes make the reader raise."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loopkit.sandbox import Limits, Outcome, Program, Sandbox, answers
from loopkit.sandbox.inside import codec
from loopkit.sandbox.programs import Kind
from loopkit.sandbox.worker import Answer

LIMITS = Limits(output=1 << 16)
ANSWER = Answer(job=1, status=0, killed="", cpu=0.0, refused=0)
LOADED = b'[-1, "loaded"]'
SCALAR = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8") | st.just("\ud800"))
)
ANY = st.recursive(
    SCALAR | st.sampled_from(["t", "d", "s", "f", "b", "x"]),
    lambda s: (
        st.lists(s, max_size=4) | st.dictionaries(st.sampled_from(["t", "d", "s", "f", "b", "x", ""]), s, max_size=2)
    ),
    max_leaves=12,
)
WORDS = st.sampled_from(["value", "error", "unsupported", "big", "loaded", "other"])
FRAMES = st.tuples(st.sampled_from([-1, 0, 1, 2, True, False, 0.0, -1.0, "0", None]), WORDS, ANY, ANY).flatmap(
    lambda f: st.integers(1, 4).map(lambda n: list(f[:n]))
)
VALUES = st.tuples(st.integers(0, 1), st.just("value"), ANY).map(list)
LINES = st.binary(max_size=40) | (ANY | FRAMES | VALUES).map(lambda v: json.dumps(v).encode())
ODD = [
    b"5", b"true", b"null", b"NaN", b"-Infinity", b"1e400", b'{"x":1}', b'"loaded"', b"[]", b"[[]]", b"[-1]", b"[-1.0]",
    b'[-1,"error"]', b'[-1,"error",1,2]', b'[-1,"error",[],{}]', b'[true,"value","1"]', b'[0.0,"value","1"]',
    b'[0,"value",1]', b'[0,"value",' + b"[" * 5000 + b"]", b"[" * 60_000,
    b'[-1,"error",' + b"[" * 900 + b"]" * 900 + b',""]',
    b'[0,"big",' + b"9" * 4300 + b"]", b'[0,"big",' + b"9" * 9000 + b"]", b'[0,"big",1e400]', b'[0,"big",true]',
    b'[0,"value","' + b"9" * 9000 + b'"]', b'[0,"value","{\\"x\\":\\"\\ud800\\"}"]', b'[0,"error","\\ud800","\\udfff"]',
    b'[0,"value","{\\"t\\":[],\\"t\\":[1]}"]', b'[0,"value","{\\"d\\":[[{\\"d\\":[]},1]]}"]', b"\xff\xfe[\x00]\x00",
    b'[0,"value","{\\"d\\":[\\"ab\\",{\\"t\\":1}]}"]', b'[0,"value","1e400"]', b"", b"\x00", b"\xff",
]  # fmt: skip


def read(form: str, data: bytes, cases: int = 2, **answer: Any) -> list[Outcome]:
    """Of a function; of a script by itself; or ("scripts") of one whose word on its cases is ``data``, too."""
    out, note = (os.memfd_create("out") for _ in range(2))
    try:
        os.write(out, data)
        os.write(note, data if form == "scripts" else b"")
        how = replace(ANSWER, **answer)
        if form == "function":
            return answers.function(0, cases, how, out, LIMITS)
        if form == "scripts":
            return answers.scripts(0, cases, how, out, note, LIMITS)
        return [answers.script(how, out, note, LIMITS)]
    finally:
        os.close(out)
        os.close(note)


def check(data: bytes) -> None:
    for status in (0, 1, -9, -11, -200):
        found = read("function", data, status=status)
        assert 1 <= len(found) <= 2
        (printed,) = read("script", data, 1, status=status)
        several = read("scripts", data, status=status)
        assert len(several) <= 2
        for outcome in (*found, printed, *several):
            assert outcome.kind in get_args(Kind)
            assert len(outcome.detail) < 5000
            assert outcome.value is None or outcome.answered


@given(st.binary(max_size=300))
@example(b"\n" * 5000)
def test_any_bytes_are_outcomes(data: bytes) -> None:
    check(data)


@given(st.lists(LINES, max_size=5), st.sampled_from([(), (LOADED,)]))
@example([b"5"], ())
def test_any_lines_are_outcomes(lines: list[bytes], head: tuple[bytes, ...]) -> None:
    check(b"".join(line + b"\n" for line in (*head, *lines)))


@pytest.mark.parametrize("line", ODD, ids=lambda line: repr(line[:30]))
def test_odd_lines_are_outcomes(line: bytes) -> None:
    for head in ((), (LOADED,), (LOADED, b'[0,"value",7]')):
        check(b"".join(part + b"\n" for part in (*head, line)))


def test_the_honest_frames_are_read() -> None:
    """The other side of the same coin: strictness refuses nothing that the child writes."""
    found = read("function", LOADED + b'\n[0, "value", 7]\n[1, "error", "KeyError", "k"]\n')
    assert found == [Outcome("value", 7), Outcome("error", detail="KeyError: k")]
    assert read("function", b'[-1, "error", "SyntaxError", ""]\n') == [Outcome("error", detail="SyntaxError")] * 2


def test_a_value_is_refused_and_never_raises_where_the_stack_is_short() -> None:
    text = "[" * 150 + "1" + "]" * 150
    refused = []

    def deep(n: int) -> None:
        if n:
            return deep(n - 1)
        try:
            codec.decode(text)
        except codec.Unsupported:
            refused.append(n)

    depth, frame = 0, sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        depth += 1
    for room in range(60, 500, 10):
        deep(sys.getrecursionlimit() - depth - room)
    assert 0 < len(refused) < 44


def test_a_patched_harness_costs_its_own_program_only(sandbox: Sandbox) -> None:
    """Through the frames below it a program reaches what writes its answers; json's own functions are its to change."""
    good = Program("solve = lambda n: n", [[1]])
    reach = (
        "import sys\ndef solve(n):\n    sys._getframe(1).f_globals['codec'].dumps = lambda *a, **k: TEXT\n    return n"
    )
    own = "import json\njson.dumps = lambda *a, **k: TEXT\ndef solve(n): return n"
    for text in ('{"x":1}', "[", '5, "more"', '"a\\n"]', "\n"):
        for source, kinds in ((reach, {"crashed"}), (own, {"value"})):
            odd = Program(source.replace("TEXT", repr(text)), [[1], [2]])
            before, found, after = sandbox.run([good, odd, good])
            assert [before, after] == [(Outcome("value", 1),)] * 2
            assert {o.kind for o in found} == kinds
