"""Programs in, outcomes out: both forms, the library, limits, and a pool whose workers die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from loopkit.errors import UsageError
from loopkit.sandbox import Limits, Outcome, Program, Sandbox, SandboxError, same_text
from loopkit.sandbox.store import _standard
from tests.sandbox.conftest import start


def one(sandbox: Sandbox, program: Program) -> Outcome:
    ((outcome,),) = sandbox.run([program])
    return outcome


def script(sandbox: Sandbox, source: str, stdin: str = "") -> Outcome:
    return one(sandbox, Program(source, [stdin], form="script"))


def function(sandbox: Sandbox, source: str, *arguments: Any, entry: str = "solve") -> Outcome:
    return one(sandbox, Program(source, [list(arguments)], entry=entry))


# --- functions


def test_a_function_is_called_once_a_case(sandbox: Sandbox) -> None:
    source = "def solve(a, b=2):\n    return {'sum': a + b, 'pair': (a, [b])}"
    (found,) = sandbox.run([Program(source, [[1], [1, 5], ["x", "y"]])])
    assert [o.value for o in found] == [{"sum": 3, "pair": (1, [2])}, {"sum": 6, "pair": (1, [5])},
                                       {"sum": "xy", "pair": ("x", ["y"])}]  # fmt: skip


def test_a_method_has_a_fresh_object_each_time(sandbox: Sandbox) -> None:
    source = """
from typing import List

class Solution:
    def __init__(self):
        self.seen = []

    def addUp(self, nums: List[int]) -> int:
        self.seen += nums
        return sum(self.seen)
"""
    (found,) = sandbox.run([Program(source, [[[1, 2]], [[3]]], entry="Solution.addUp")])
    assert [o.value for o in found] == [3, 3]


def test_an_error_in_one_case_leaves_the_others(sandbox: Sandbox) -> None:
    (found,) = sandbox.run([Program("def solve(x):\n    print('noise')\n    return 6 // x", [[0], [2], ["a"]])])
    assert [o.kind for o in found] == ["error", "value", "error"]
    assert found[0].detail == "ZeroDivisionError: integer division or modulo by zero"
    assert found[1].value == 3
    assert not found[0].answered


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def solve(:", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("def other(): pass", "AttributeError"),
        ("solve = 5", "TypeError: 'int' object is not callable"), ("import nothing_of_the_kind", "ModuleNotFoundError"),
        ("x = '\\0'\n\0", "source code string cannot contain null bytes"), ("exit()", "SystemExit"),
    ],
)  # fmt: skip
def test_a_program_that_is_none_is_an_error(sandbox: Sandbox, source: str, says: str) -> None:
    (found,) = sandbox.run([Program(source, [[1], [2]])])
    assert [o.kind for o in found] == ["error", "error"]
    assert says in found[0].detail


def test_a_crash_or_a_timeout_costs_its_own_case_only(sandbox: Sandbox) -> None:
    source = """
import ctypes, os
def solve(x):
    if x == 1: ctypes.string_at(0)
    if x == 2: os._exit(0)
    while x == 3: pass
    return x
"""
    (found,) = sandbox.run([Program(source, [[0], [1], [2], [3], [4]])])
    assert [o.kind for o in found] == ["value", "crashed", "crashed", "timeout", "value"]
    assert [o.detail for o in found[1:3]] == ["SIGSEGV", "it ended early, without an answer"]
    assert found[3].detail in ("processor time", "wall time")  # whichever a busy machine reaches first


def test_sleep_is_a_timeout_of_wall_time(sandbox: Sandbox) -> None:
    assert function(sandbox, "import time\ndef solve(): time.sleep(99)") == Outcome("timeout", detail="wall time")


def test_what_does_not_travel_is_unsupported(sandbox: Sandbox) -> None:
    assert function(sandbox, "solve = lambda: object()").kind == "unsupported"
    assert function(sandbox, "solve = lambda: (x for x in ())").kind == "unsupported"


def test_too_much_output_is_said_so(sandbox: Sandbox) -> None:
    (found,) = sandbox.run([Program("solve = lambda n: 'x' * n", [[1 << 21], [5]])])
    assert [o.kind for o in found] == ["output", "value"]
    assert script(sandbox, "print('x' * (1 << 21))").kind == "output"
    assert script(sandbox, "print('x' * ((1 << 20) - 1))").kind == "printed"


def test_memory_is_an_error_of_the_program(sandbox: Sandbox) -> None:
    assert function(sandbox, "solve = lambda: bytearray(1 << 33)").detail == "MemoryError"


# --- scripts


def test_a_script_reads_and_prints(sandbox: Sandbox) -> None:
    source = "n = int(input())\nprint(*sorted(map(int, input().split())))\nprint(n, end='')"
    program = Program(source, ["3\n3 1 2\n", "1\n9"], form="script")
    (found,) = sandbox.run([program])
    assert [o.value for o in found] == ["1 2 3\n3", "9\n1"]
    assert same_text("1 2 3 \n3\n\n", found[0].value)


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nprint(sys.stdin.read()[::-1])",
        "import sys\nfor line in sys.stdin: print(line[::-1])",
        "print(open(0).read()[::-1])",
        "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])",
        "import os\nos.write(1, os.read(0, os.fstat(0).st_size)[::-1])",
        "import sys, os, io\nd = io.BytesIO(os.read(0, max(os.fstat(0).st_size, 8192)))\n"
        "sys.stdout.write(d.read().decode()[::-1])",
        "import atexit, io, sys\nsys.stdout = io.StringIO()\n"
        "atexit.register(lambda: sys.__stdout__.write(sys.stdout.getvalue()))\nprint(input()[::-1])",
        "import sys, threading\ndef main(): print(input()[::-1])\n"
        "sys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 27)\n"
        "t = threading.Thread(target=main)\nt.start()\nt.join()",
        "import threading\nthreading.Thread(target=lambda: print(input()[::-1])).start()",
        "if __name__ == '__main__':\n    print(input()[::-1])\n    exit(0)",
        "print(input()[::-1])\nimport sys, os\nsys.stdout.flush()\nos._exit(0)",
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_STACK, (-1, -1))\nprint(input()[::-1])\nsys.exit()",
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as p: print(*p.map(lambda s: s[::-1], [input()]))",
        "import fileinput\nfor line in fileinput.input(): print(line[::-1])",
        "import sys\nf = open(sys.argv[1]) if len(sys.argv) > 1 else sys.stdin\nprint(f.read()[::-1])",
        "with open('/dev/stdin') as f: print(f.read()[::-1])",
        "import io\nprint(io.open('/dev/stdin', 'rb').read().decode()[::-1])",
        "import pathlib\nprint(pathlib.Path('/dev/stdin').read_text()[::-1])",
        "import os\nprint(input()[::-1] if os.path.basename(__file__) == 'solution.py' else '')",
        "import sys\nprint(input()[::-1])\nsys.stdout.close()",
    ],
)
def test_the_ways_of_scripts(sandbox: Sandbox, source: str) -> None:
    outcome = script(sandbox, source, "abc")
    assert outcome.kind == "printed", outcome
    assert outcome.value.strip() == "cba"


def test_a_script_that_fails_is_an_error(sandbox: Sandbox) -> None:
    assert script(sandbox, "print(1)\nraise KeyError('k')") == Outcome("error", detail="KeyError: 'k'")
    assert script(sandbox, "import sys\nprint(1)\nsys.exit(3)") == Outcome("error", detail="SystemExit: 3")
    assert script(sandbox, "input()") == Outcome("error", detail="EOFError: EOF when reading a line")


def test_each_case_of_a_script_is_a_process_of_its_own(sandbox: Sandbox) -> None:
    source = "import math\nmath.runs = getattr(math, 'runs', 0) + 1\nprint(math.runs)"
    (found,) = sandbox.run([Program(source, ["", ""], form="script")])
    assert [o.value for o in found] == ["1\n", "1\n"]


def test_lone_surrogates_and_bad_bytes_pass(sandbox: Sandbox) -> None:
    assert script(sandbox, "import sys\nsys.stdout.buffer.write(b'a\\xff')").value == "a\ufffd"
    assert function(sandbox, "solve = lambda s: s + '\\ud800'", "é\udfff").value == "é\udfff\ud800"
    assert script(sandbox, "print(len(input()))", "é").value == "1\n"


def test_a_program_sees_its_own_name_and_arguments_only(sandbox: Sandbox) -> None:
    assert script(sandbox, "import sys\nprint(sys.argv, __file__)").value == "['solution.py'] solution.py\n"
    assert function(sandbox, "import sys\nsolve = lambda: [sys.argv, __file__]").value == [
        ["solution.py"],
        "solution.py",
    ]


def test_no_other_path_is_opened_for_standard_input(sandbox: Sandbox) -> None:
    for path in ("/dev/stdout", "/dev/fd/0", "/proc/self/fd/0", "/dev/../dev/stdin", "/dev/null"):
        assert script(sandbox, f"open({path!r})", "abc").detail.startswith("FileNotFoundError")


# --- the library


def test_every_pure_module_can_be_imported(sandbox: Sandbox) -> None:
    """Of those that need no extension we leave out: each in a process of its own, without a file system."""
    top = sorted({name for name, *_ in _standard() if "." not in name and not name.startswith("_")})
    left_out = {  # need what a sandbox has not: a terminal, windows, another process, an own C extension
        "antigravity", "crypt", "nis", "ossaudiodev", "pdb", "pty", "spwd", "sqlite3", "tty", "ssl",
        "cgitb", "rlcompleter",
        "smtpd", "asyncore", "asynchat", "nntplib", "sysconfig", "webbrowser", "pydoc", "doctest", "site", "idlelib",
    }  # fmt: skip
    wanted = [name for name in top if name not in left_out]
    assert len(wanted) > 120
    found = sandbox.run([Program(f"import {name}\nsolve = lambda: 1", [[]]) for name in wanted])
    assert {n: o.detail for n, (o,) in zip(wanted, found, strict=True) if o.value != 1} == {}


def test_usual_modules_work(sandbox: Sandbox) -> None:
    source = """
import bisect, collections, decimal, fractions, functools, hashlib, heapq, itertools, json, math, random, re, statistics
import string, tempfile, uuid, zlib, difflib, graphlib, html, secrets, xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import NamedTuple

@dataclass(order=True)
class Point:
    x: int
    y: "int" = 0

class Pair(NamedTuple):
    a: int

@functools.lru_cache(None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)

def solve():
    return [sorted([Point(2), Point(1)])[0].x, Pair(3).a, fib(60), hashlib.sha256(b"a").hexdigest()[:6],
            str(decimal.Decimal(1) / 3)[:6], ET.fromstring("<a><b/></a>")[0].tag, html.escape("<"),
            heapq.nsmallest(1, [3, 1]), statistics.mean([1, 2, 3]), len(secrets.token_bytes(4))]
"""
    assert function(sandbox, source).value == [1, 3, 1548008755920, "ca9781", "0.3333", "b", "&lt;", [1], 2, 4]


@pytest.mark.parametrize(
    "source",
    [
        "from zoneinfo import ZoneInfo\nsolve = lambda: ZoneInfo('Europe/Berlin')",
        "import tempfile\nsolve = tempfile.mkdtemp", "import ssl\nsolve = ssl.create_default_context",
        "import os\nsolve = lambda: os.listdir('.')",
        "import multiprocessing as m\nsolve = lambda: m.Pool(1)",
        "import asyncio\nasync def f(): return 1\nsolve = lambda: asyncio.run(f())",
        "import subprocess\nsolve = lambda: subprocess.run(['ls'])",
    ],
)  # fmt: skip
def test_what_is_documented_not_to_work_is_an_error(sandbox: Sandbox, source: str) -> None:
    assert function(sandbox, source).kind == "error"


def test_what_is_documented_to_work_beside_it_does(sandbox: Sandbox) -> None:
    source = """
import tempfile
from datetime import datetime, timezone
def solve():
    with tempfile.SpooledTemporaryFile() as file:
        file.write(b"1")
        file.seek(0)
        return [file.read(), datetime(2020, 1, 1, tzinfo=timezone.utc).isoformat()]
"""
    assert function(sandbox, source).value == [b"1", "2020-01-01T00:00:00+00:00"]


def test_cases_of_a_function_share_a_process_and_see_all_inputs(sandbox: Sandbox) -> None:
    """What SECURITY.md says is left."""
    source = "import sys\nn = 0\ndef solve(x):\n    global n\n    n += 1\n"
    source += "    return [n, sys._getframe(1).f_locals['program']['cases']]"
    (found,) = sandbox.run([Program(source, [["a"], ["b"]])])
    assert [o.value for o in found] == [[1, [["a"], ["b"]]], [2, [["a"], ["b"]]]]


def test_programs_are_repeatable(sandbox: Sandbox) -> None:
    source = "import random\nsolve = lambda: [random.random(), hash('a'), list({'a', 'b', 'c', 'd'})]"
    found = sandbox.run([Program(source, [[]])] * 3)
    assert found[0] == found[1] == found[2]
    with start(sandbox.tier.name) as other:
        assert other.run([Program(source, [[]])]) == found[:1]


def test_deep_recursion_works(sandbox: Sandbox) -> None:
    source = "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nsolve = f"
    assert function(sandbox, source, 50_000).value == 50_000


# --- the pool


def test_many_at_once_keep_their_order() -> None:
    with start("auto", workers=2) as sandbox:
        taken = 0

        def programs() -> Iterator[Program]:
            nonlocal taken
            for k in range(60):
                taken += 1
                if k % 3:
                    yield Program(f"solve = lambda x: x + {k}", [[1], [2]])
                else:
                    yield Program(f"print({k} + int(input()))", ["1", "2"], form="script")

        found = sandbox.run(programs())
        assert sandbox.workers == 2
    for k, outcomes in enumerate(found):
        assert [o.value for o in outcomes] == ([k + 1, k + 2] if k % 3 else [f"{k + 1}\n", f"{k + 2}\n"])


def test_programs_are_taken_as_workers_get_free() -> None:
    """Back-pressure: an endless source is read no further ahead than the workers hold."""
    with start("auto") as sandbox:
        taken = []

        def endless() -> Iterator[Program]:
            for k in range(10**9):
                taken.append(k)
                if k == 20:
                    raise KeyboardInterrupt
                yield Program("solve = lambda: 1", [[]])

        with pytest.raises(KeyboardInterrupt):
            sandbox.run(endless())
        assert len(taken) == 21
        assert sandbox.run([Program("solve = lambda: 2", [[]])]) == [(Outcome("value", 2),)]


def test_no_programs_and_no_cases(sandbox: Sandbox) -> None:
    assert sandbox.run([]) == []
    assert sandbox.run([Program("solve = 1", []), Program("", [], form="script")]) == [(), ()]


def test_threads_take_turns() -> None:
    with start("auto") as sandbox:
        found: dict[int, Any] = {}

        def work(k: int) -> None:
            found[k] = sandbox.run([Program(f"solve = lambda: {k}", [[]])] * 5)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert found == {k: [(Outcome("value", k),)] * 5 for k in range(4)}


def kill(sandbox: Sandbox) -> None:
    signal.pidfd_send_signal(sandbox._seats[0].worker.pidfd, signal.SIGKILL)


def test_a_dead_worker_is_replaced(sandbox: Sandbox) -> None:
    before = sandbox.replaced
    kill(sandbox)
    time.sleep(0.1)
    assert function(sandbox, "solve = lambda: 1").value == 1
    assert sandbox.replaced == before + 1


def test_a_worker_killed_at_work_is_replaced_and_its_program_tried_again(sandbox: Sandbox) -> None:
    before = sandbox.replaced
    timer = threading.Timer(0.4, kill, [sandbox])
    timer.start()
    found = sandbox.run(
        [Program("import time\ndef solve(x):\n    time.sleep(0.8)\n    return x", [[k]]) for k in range(3)]
    )
    timer.join()
    assert [o.value for (o,) in found] == [0, 1, 2]
    assert sandbox.replaced == before + 1


def test_a_program_that_fails_each_time_is_an_error_and_no_score(sandbox: Sandbox) -> None:
    done = threading.Event()

    def keep_killing() -> None:
        while not done.wait(0.25):
            try:
                kill(sandbox)
            except OSError:
                continue

    killer = threading.Thread(target=keep_killing)
    killer.start()
    slow = Program("import time\ndef solve(): time.sleep(1.2)", [[]])
    try:
        with pytest.raises(
            SandboxError, match=r"failed 3 times at program 1|did not come up|does not hold|could not be started"
        ):
            sandbox.run([Program("solve = lambda: 1", [[]]), slow, slow])
    finally:
        done.set()
        killer.join()
    for _ in range(3):  # the sandbox stays usable
        try:
            assert function(sandbox, "solve = lambda: 1").value == 1
            break
        except SandboxError:
            continue


def test_a_worker_that_stops_answering_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopkit.sandbox.pool.GRACE", 0.3)
    with start("seccomp", limits=Limits(cpu=0.2, wall=0.2)) as sandbox:
        signal.pidfd_send_signal(sandbox._seats[0].worker.pidfd, signal.SIGSTOP)
        assert function(sandbox, "solve = lambda: 1").value == 1
        assert sandbox.replaced == 1


def test_nothing_is_left_when_the_process_dies(sandbox: Sandbox) -> None:
    """A parent that is killed in the middle of a program takes its workers and programs with it."""
    code = (
        "import sys\nfrom loopkit.sandbox import Sandbox, Program\n"
        f"s = Sandbox({sandbox.tier.name!r}, workers=1)\n"
        "w = s._seats[0].worker\n"
        "print(open(f'/proc/self/fdinfo/{w.pidfd}').read().split('Pid:')[1].split()[0], flush=True)\n"
        "s.run([Program('import time\\nsolve = lambda: time.sleep(60)', [[]])])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
    end = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")


def test_closing_leaves_no_descriptor() -> None:
    with start("auto"):
        pass
    before = len(os.listdir("/proc/self/fd"))
    with start("auto") as sandbox:
        sandbox.run([Program("solve = lambda: 1", [[]])] * 20)
    sandbox.close()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(SandboxError, match="was closed"):
        sandbox.run([])


# --- usage


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Program("", [1]), lambda: Program("", [[1]], form="script"),
        lambda: Program("", [], form="both"),  # type: ignore[arg-type]
        lambda: Program("", [], entry="a b"), lambda: Program("", [], entry="a.b.c"), lambda: Limits(cpu=0),
        lambda: Limits(memory=1), lambda: Limits(output=0), lambda: Sandbox("docker"),
    ],
)  # fmt: skip
def test_misuse_is_said(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()


def test_arguments_that_do_not_travel_are_the_callers_fault(sandbox: Sandbox) -> None:
    with pytest.raises(UsageError, match=r"program 0: .*object does not travel"):
        sandbox.run([Program("solve = print", [[object()]])])
    assert function(sandbox, "solve = lambda: 1").value == 1
