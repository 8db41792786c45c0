"""A case has its limits, whatever else is run; and what the machine refuses is never a verdict."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
import sortedcontainers

from loopkit.sandbox import Limits, Outcome, Program, Sandbox, SandboxError, packages, shared
from loopkit.sandbox.inside import probes
from tests.sandbox.conftest import ROOT, TIERS, start

CPU = Limits(cpu=0.4, wall=6.0)


@pytest.fixture(scope="module", params=TIERS)
def timed(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with start(request.param, limits=CPU) as sandbox:
        yield sandbox


BUSY = "    end = time.process_time() + seconds\n    while time.process_time() < end: pass\n    return seconds\n"
OFF = "import signal, time\ndef solve(seconds):\n    for t in (0, 1, 2): signal.setitimer(t, 0)\n    signal.pthread_sigmask(0, range(1, 65))\n"


@pytest.mark.parametrize("head", ["import time\ndef solve(seconds):\n", OFF])
def test_processor_time_is_judged_from_outside(timed: Sandbox, head: str) -> None:
    (found,) = timed.run([Program(head + BUSY, [[0.1], [9.0], [0.25]])])
    assert [o.kind for o in found] == ["value", "timeout", "value"]
    assert found[1].detail in ("processor time", "wall time")  # whichever a busy machine reaches first


def test_the_limit_is_of_each_case_and_does_not_depend_on_the_others(timed: Sandbox) -> None:
    """Ten cases of 0.25 s under a limit of 0.4 s, in one process; and then one that takes too long."""
    (found,) = timed.run([Program("import time\ndef solve(seconds):\n" + BUSY, [[0.25]] * 10 + [[5.0], [0.1]])])
    assert [o.kind for o in found] == ["value"] * 10 + ["timeout", "value"]


def test_a_case_cannot_spend_the_time_of_the_others(timed: Sandbox) -> None:
    """The first of ten takes what all ten may have: it is ended after its own, and the others are run."""
    begun = time.process_time()
    (found,) = timed.run([Program("import time\ndef solve(seconds):\n" + BUSY, [[3.0]] + [[0.0]] * 9)])
    assert [o.kind for o in found] == ["timeout"] + ["value"] * 9
    assert time.process_time() - begun < 3.0


def test_output_is_a_case_s_whatever_the_order(sandbox: Sandbox) -> None:
    sizes = [700_000] * 5 + [2 << 20, 5, 1 << 20]
    for order in (sizes, sizes[::-1]):
        (found,) = sandbox.run([Program("solve = lambda n: 'x' * n", [[n] for n in order])])
        assert [o.kind for o in found] == ["output" if n > 1_000_000 else "value" for n in order]


def test_as_many_cases_share_a_process_as_their_output_may_fill() -> None:
    with start("auto", limits=Limits(output=16 << 20)) as sandbox:
        (found,) = sandbox.run(
            [Program("n = 0\ndef solve(x):\n    global n\n    n += 1\n    return n", [[k] for k in range(9)])]
        )
    assert [o.value for o in found] == [1, 2, 3, 4, 1, 2, 3, 4, 1]


def test_wall_time_on_a_busy_machine_is_judged_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.1 said of a right program that it was too slow, where the machine did not let it run."""
    nap = Program(f"import time\ndef solve(x):\n    time.sleep({1.6 * sandbox.limits.wall})\n    return x", [[1], [2]])
    for busy, wanted in ((False, "timeout"), (True, "value")):
        monkeypatch.setattr("loopkit.sandbox.pool.overloaded", lambda busy=busy: busy)
        (found,) = sandbox.run([nap])
        assert [o.kind for o in found] == [wanted] * 2
    (found,) = sandbox.run([Program("import time\ndef solve(): time.sleep(99)", [[]])])
    assert found == (Outcome("timeout", detail="wall time"),)


# --- scripts that share a process


def test_scripts_share_a_process_where_the_game_says_so(sandbox: Sandbox) -> None:
    source = "import math\nmath.runs = getattr(math, 'runs', 0) + 1\nprint(input(), math.runs)\nx = globals().get('x', 0) + 1\nprint(x)"
    cases = ["a\n", "bb\nrest", "c"]
    (alone,), (together,) = [sandbox.run([Program(source, cases, "script", shared=s)]) for s in (False, True)]
    assert [o.value for o in alone] == ["a 1\n1\n", "bb 1\n1\n", "c 1\n1\n"]
    assert [o.value for o in together] == ["a 1\n1\n", "bb 2\n1\n", "c 3\n1\n"]


def test_a_shared_script_that_ends_badly_is_run_by_itself(sandbox: Sandbox) -> None:
    source = """
import os, sys
n = int(input())
print(n)
if n == 1: raise KeyError(n)
if n == 2: os._exit(0)
if n == 3: sys.exit(5)
if n == 4:
    while 1: pass
if n == 5: sys.stdout.close()
if n == 6: print('x' * (1 << 21))
"""
    cases = [str(k) for k in (0, 7, 1, 2, 3, 4, 5, 6, 8)]
    (alone,), (together,) = [sandbox.run([Program(source, cases, "script", shared=s)]) for s in (False, True)]
    assert [o.kind for o in alone] == [
        "printed",
        "printed",
        "error",
        "printed",
        "error",
        "timeout",
        "printed",
        "output",
        "printed",
    ]
    assert [(o.kind, o.value) for o in together] == [(o.kind, o.value) for o in alone]


def test_the_honest_scripts_pass_when_they_share_a_process() -> None:
    from dataclasses import replace

    from tests.sandbox import honest
    from tests.sandbox.honest import judge

    scripts = [one for one in honest.corpus() if one.program.form == "script" and len(one.program.cases) > 1]
    several = [replace(one, program=replace(one.program, shared=True)) for one in scripts][::3]
    assert len(several) > 30
    with start("auto", limits=Limits()) as sandbox:
        assert judge.failed(sandbox, several) == {}


# --- what the machine refuses


THREADS = """
import threading
threading.stack_size(1 << 18)
def solve():
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(50)]
    for t in threads: t.start()
    done.set()
    for t in threads: t.join()
    return len(threads)
"""


@pytest.mark.parametrize("numbered", [True, False])
def test_threads_do_not_depend_on_what_else_runs(numbered: bool) -> None:
    """One worker's program starts threads as fast as it can, the other's wants fifty: 0.1 refused it some."""
    bomb = "import _thread, time\n_thread.stack_size(1 << 15)\ndef solve():\n    end = time.time() + 1.2\n    while time.time() < end:\n"
    bomb += "        try: _thread.start_new_thread(time.sleep, (2,))\n        except RuntimeError: time.sleep(.01)\n    return 1"
    with start("seccomp", workers=2, limits=Limits(wall=5), numbered=numbered) as sandbox:
        found = sandbox.run([Program(bomb, [[]]), *[Program(THREADS, [[]])] * 6])
    assert [o.value for (o,) in found] == [1] + [50] * 6


def test_sixty_four_threads_and_not_one_more(sandbox: Sandbox) -> None:
    source = "import _thread, time\n_thread.stack_size(1 << 16)\ndef solve():\n    n = 0\n    try:\n        while n < 200: _thread.start_new_thread(time.sleep, (9,)); n += 1\n"
    source += "    except RuntimeError: return n"
    assert sandbox.run([Program(source, [[]])]) == [(Outcome("value", 63),)]


STARVED = """
import resource, sys
from loopkit.sandbox import Limits, Program, Sandbox, SandboxError
what, amount = getattr(resource, sys.argv[1]), int(sys.argv[2])
with Sandbox(sys.argv[3], workers=1, limits=Limits()) as sandbox:
    pass
resource.setrlimit(what, (amount, resource.getrlimit(what)[1]))
with Sandbox(sys.argv[3], workers=1, limits=Limits()) as sandbox:
    print(sandbox.run([Program("solve = lambda: 1", [[]])])[0][0].value)
    try:
        print(sandbox.run([Program(sys.argv[4], [[]])]))
    except SandboxError as error:
        print("refused:", error)
    print(sandbox.run([Program("solve = lambda: 2", [[]])])[0][0].value)
"""


def starved(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", STARVED, *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("tier", TIERS)
def test_memory_that_the_machine_refuses_is_an_error_of_the_run(tier: str) -> None:
    """A program may have 512 MiB; here the machine gives 160: a limit of the user's, in place of a machine that is short."""
    start(tier).close()
    one, refused, two = starved("RLIMIT_DATA", str(160 << 20), tier, "def solve(): return len(bytearray(300 << 20))")
    assert (one, two) == ("1", "2")
    assert "refused: the sandbox failed 3 times at program 0" in refused
    assert "memory" in refused


def test_threads_that_the_machine_refuses_are_an_error_of_the_run() -> None:
    if os.geteuid() != 0:
        pytest.skip("threads that the machine refuses: an ordinary user's other processes count as well")
    start("seccomp").close()
    one, refused, two = starved("RLIMIT_NPROC", "30", "seccomp", THREADS)
    assert (one, two) == ("1", "2")
    assert "refused: the sandbox failed 3 times at program 0" in refused
    assert "a thread" in refused


def test_descriptors_that_the_machine_refuses_are_an_error_of_the_run(sandbox: Sandbox) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, before[1]))
    try:
        try:
            while True:
                kept.append(os.dup(0))
        except OSError:
            pass
        with pytest.raises(SandboxError, match=r"memory file.*ulimit -n"):
            sandbox.run([Program("solve = lambda: 1", [[]])])
    finally:
        for fd in kept:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert sandbox.run([Program("solve = lambda: 1", [[]])]) == [(Outcome("value", 1),)]


def test_what_a_program_says_the_machine_refused_is_looked_into(sandbox: Sandbox) -> None:
    """It is an error of the program where the machine refuses nothing: no policy stops a run by saying so."""
    lies = [
        Program("import os\nos.lseek(3, 0, 0)\nos.write(3, b'a thread')\nos._exit(71)", [""], "script"),
        Program(
            "import os\ndef solve(x):\n    if x: return x\n    os.write(3, b'memory'); os._exit(71)", [[1], [0], [2]]
        ),
    ]
    before = sandbox.replaced
    script, function = sandbox.run(lies)
    assert [o.kind for o in script] == ["error"]
    assert [(o.kind, o.value) for o in function] == [("value", 1), ("error", None), ("value", 2)]
    assert sandbox.replaced == before


# --- values, texts and packages


def test_an_outcome_can_always_be_shown() -> None:
    for value in (10**5000, [1, {2: -(10**9999)}]):
        assert "too long to write" in repr(Outcome("value", value))
    assert repr(Outcome("value", 5, "d")) == "Outcome('value', 5, 'd')"


def test_half_surrogates_in_an_input_end_nothing(sandbox: Sandbox) -> None:
    echo = "import sys\nsys.stdout.write(sys.stdin.read())"
    found, _ = sandbox.run([Program(echo, ["a\ud800b", "\udfff", "ok"], "script"), Program("solve = lambda: 1", [[]])])
    assert [o.value for o in found] == ["a\ufffdb", "\ufffd", "ok"]
    (found,) = sandbox.run([Program(echo, ["a\ud800b", "\udfff", "ok"], "script", shared=True)])
    assert [o.value for o in found] == ["a\ufffdb", "\ufffd", "ok"]


@pytest.mark.parametrize("tier", TIERS)
def test_numpy_can_be_allowed(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import numpy as np\ndef solve(a): return [int(np.dot(a, a)), np.linalg.norm(a).item(), float(np.mean(a))]"
    with start(tier) as sandbox:
        assert "ModuleNotFoundError" in sandbox.run([Program(source, [[[3, 4]]])])[0][0].detail
        assert "packages" not in sandbox.describe()
    with start(tier, packages=["numpy"], limits=Limits()) as sandbox:
        assert sandbox.run([Program(source, [[[3, 4]]])]) == [(Outcome("value", [25, 5.0, 3.5]),)]
        assert set(sandbox.describe()["packages"]) == {"numpy"}


def test_packages_may_lie_where_people_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In /tmp or /home, as virtual environments do: seen are they and the way there, and what lies beside it is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        folder = Path(home, "venv")
        Path(home).chmod(0o755)
        Path(home, "diary").mkdir()
        for part in Path(sortedcontainers.__path__[0]).parent.glob("sortedcontainers*"):
            shutil.copytree(part, folder / part.name)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setattr(packages, "find_spec", lambda name: PathFinder.find_spec(name, [str(folder)]))
        with start("bubblewrap", packages=["sortedcontainers"]) as sandbox:
            assert sandbox.packages.folders == (str(folder.resolve()),)
            source = "from sortedcontainers import SortedList\ndef solve(a): return list(SortedList(a))"
            assert sandbox.run([Program(source, [[[2, 1]]])]) == [(Outcome("value", [1, 2]),)]
        seen = probes.beside([str(folder), f"{folder}/inner"])
    assert f"{home}/diary" in seen
    assert f"{home}/venv" not in seen
    assert not [path for path in seen if path.startswith(str(folder))]
    assert "/etc" in seen
    assert "/tmp" not in seen


def test_packages_are_named_by_a_variable_and_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from loopkit.errors import UsageError

    monkeypatch.setenv("LOOPKIT_SANDBOX_PACKAGES", "torch")
    with pytest.raises(UsageError, match=r"'torch'.*numpy"):
        shared()
    monkeypatch.setattr("loopkit.sandbox.packages.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"'numpy'.*not installed"):
        Sandbox(packages=["numpy"])
