"""Nothing carries over from one program to the next, and nothing of the parent comes in: looked at from both sides."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from loopkit.sandbox import Limits, Outcome, Program, Sandbox, SandboxError, store
from loopkit.sandbox.worker import Answer, Worker
from tests.sandbox import attacks
from tests.sandbox import attacks_later as later
from tests.sandbox.conftest import TIERS, start

QUIET = Program("solve = lambda x: x", [[1]])


def child_of(sandbox: Sandbox) -> int:
    """The process of the program that runs now, as this machine numbers it."""
    keeper = _keeper(sandbox)
    zygote, *others = _children(keeper)
    for _ in range(1500):
        if others:
            return others[0]
        time.sleep(0.02)
        others = [c for c in _children(keeper) if c != zygote]
    raise AssertionError("no program was started")


def _keeper(sandbox: Sandbox) -> int:
    with open(f"/proc/self/fdinfo/{sandbox._seats[0].worker.pidfd}", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pid"))


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return sorted(map(int, file.read().split()))


LONG = Limits(cpu=0.5, wall=60)
"""Of programs that are looked at from outside, which takes its time on a busy machine."""
WAITS = """
import signal, time
class Enough(Exception): pass
def enough(*_): raise Enough
signal.signal(signal.SIGUSR1, enough)
def wait():
    try: time.sleep(60)
    except Enough: pass
"""


class Running:
    """A program that waits while it is looked at from outside, and is then told to end."""

    def __init__(self, sandbox: Sandbox, form: str = "function") -> None:
        source = WAITS + ("def solve(x): wait()" if form == "function" else "wait()")
        self.sandbox, self.program = sandbox, Program(source, [[1] if form == "function" else ""], form)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=lambda: sandbox.run([self.program]))

    def __enter__(self) -> int:
        self.thread.start()
        time.sleep(0.25)
        return child_of(self.sandbox)

    def __exit__(self, *_: object) -> None:
        while self.thread.is_alive():
            with contextlib.suppress(OSError, StopIteration):  # there may be none, or another worker's by now
                for program in _children(_keeper(self.sandbox))[1:]:
                    os.kill(program, signal.SIGUSR1)
            self.thread.join(0.05)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """This process with more descriptors open than any loop up to 4,096 reaches."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 6000:
        pytest.skip(f"many descriptors: at most {before[1]} are allowed here (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (6000, before[1]))
    one = os.open("/dev/null", os.O_RDONLY)
    kept = [one, *(os.dup(one) for _ in range(4300))]
    yield
    for fd in kept:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("form", ["function", "script"])
def test_a_program_holds_its_own_four_files_and_nothing_else(tier: str, form: str, many_descriptors: None) -> None:
    """By the kernel's account of the running process, with a parent that has 4,300 descriptors open."""
    with start(tier, limits=LONG) as sandbox, Running(sandbox, form) as pid:
        folder = f"/proc/{pid}/fd"
        found = {int(fd): os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}
    assert sorted(found) == [0, 1, 2, 3]
    assert all(target.startswith("/memfd:loopkit") for target in found.values()), found


@pytest.mark.parametrize("tier", TIERS)
def test_the_kernel_knows_of_every_layer_on_a_running_program(tier: str) -> None:
    with start(tier, limits=LONG) as sandbox, Running(sandbox) as pid:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
            limits = {line[:26].strip(): line[26:47].strip() for line in file}
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"], status.get("Seccomp_filters", "2")) == ("1", "2", "2")
    assert int(limits["Max address space"]) == sandbox.limits.memory
    assert int(limits["Max open files"]) == 4
    assert int(limits["Max core file size"]) == 0
    if sandbox.numbered:
        assert int(limits["Max processes"]) == 96
        assert status["NSpid"].split()[-1] == "1"


SPIES = [
    Program(attacks.HEAD + later.FUNCTIONS[name], [["a"]]) for name in later.FUNCTIONS if name.startswith("left: ")
]
REMEMBERS = """
    try: KEPT.append(os.pread(40, 9999, 0))
    except OSError: pass
    os.dup2(fds[4], 40)
"""


def test_a_zygote_that_remembers_words_would_be_seen() -> None:
    """The spies among the attacks find what a zygote has read of an earlier program: 0.1's read its last words."""
    sources = dict(store.own_sources())
    text = "    for fd in fds:\n        os.close(fd)\n    if errno"
    assert sources["zygote"].count(text) == 1
    with start("seccomp") as sandbox:
        assert not any(map(attacks.through, sandbox.run([attacks.EARLIER, *SPIES])))
    sources["zygote"] = sources["zygote"].replace(text, REMEMBERS + text) + "\nKEPT = []\n"
    with start("seccomp", sources=sources) as sandbox:
        assert any(map(attacks.through, sandbox.run([attacks.EARLIER, QUIET, *SPIES])))


def test_the_zygote_reads_nothing_and_holds_nothing(sandbox: Sandbox) -> None:
    """By the kernel's account, over programs that write, print, answer and fail."""
    sandbox.run([QUIET])
    zygote = _children(_keeper(sandbox))[0]

    def account() -> tuple[list[str], str]:
        with open(f"/proc/{zygote}/io", encoding="utf-8") as file:
            return sorted(os.listdir(f"/proc/{zygote}/fd")), file.readline()

    before = account()
    sandbox.run([attacks.EARLIER, attacks.programs()["output: giant answer"], attacks.programs()["crash"]])
    assert account() == before
    assert before[0] == ["0", "1", "2", "3"]


# --- numbers


def test_an_answer_with_another_number_is_thrown_away_with_its_worker(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, before, wrong = Worker.receive, sandbox.replaced, [True]

    def receive(self: Worker) -> Answer | None:
        answer = real(self)
        if answer is not None and wrong:
            wrong.clear()
            return Answer(answer.job - 1, answer.status, answer.killed, answer.cpu, answer.refused)
        return answer

    monkeypatch.setattr(Worker, "receive", receive)
    found = sandbox.run([Program(f"solve = lambda: {k}", [[]]) for k in range(4)])
    assert [o.value for (o,) in found] == [0, 1, 2, 3]
    assert sandbox.replaced == before + 1


ANSWER = {"job": 1, "status": 0, "killed": "", "cpu": 0.1, "refused": 0}


@pytest.mark.parametrize(
    "message",
    [b"", b"5", b"null", b"[]", b"{}", b"{", b'{"status":0,"late":false,"cpu":0,"began":true,"note":""}',
     *[str({**ANSWER, key: wrong}).replace("'", '"').replace("True", "true").encode()
       for key, wrong in (("job", "1"), ("job", True), ("status", 0.5), ("killed", 0), ("cpu", 1), ("more", 1))]],
)  # fmt: skip
def test_a_frame_that_no_keeper_writes_is_none(message: bytes) -> None:
    assert Answer.parse(message) is None


def test_a_word_that_nobody_asked_for_costs_its_worker(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sandbox.replaced
    monkeypatch.setattr(sandbox._seats[0].worker, "silent", lambda: False)
    assert sandbox.run([QUIET]) == [(Outcome("value", 1),)]
    assert sandbox.replaced == before + 1


DOUBLE = "    control.send(json.dumps(answer).encode())\n"


@pytest.mark.parametrize("other", [DOUBLE.replace("answer)", "answer | {'job': 7})"), "    control.send(b'{}')\n"])
def test_a_keeper_that_answers_wrongly_is_refused_at_the_start(other: str) -> None:
    with start("seccomp"):
        pass
    with pytest.raises(SandboxError, match="does not fit"):
        Sandbox("seccomp", workers=1, sources=_keeping(other))


def test_a_keeper_that_answers_twice_gives_nobody_a_second_answer() -> None:
    with start("seccomp", sources=_keeping(DOUBLE * 2)) as sandbox:
        found = sandbox.run([Program(f"solve = lambda: {k}", [[]]) for k in range(4)])
        assert [o.value for (o,) in found] == [0, 1, 2, 3]
        assert sandbox.replaced > 0


def _keeping(other: str) -> dict[str, str]:
    sources = dict(store.own_sources())
    assert sources["keeper"].count(DOUBLE) == 1
    return sources | {"keeper": sources["keeper"].replace(DOUBLE, other)}


@pytest.mark.parametrize("tier", TIERS)
def test_a_killed_keeper_takes_its_program_along(tier: str) -> None:
    with start(tier, limits=LONG) as sandbox, Running(sandbox) as pid:
        signal.pidfd_send_signal(sandbox._seats[0].worker.pidfd, signal.SIGKILL)
        end = time.monotonic() + 5
        while os.path.exists(f"/proc/{pid}/fd/0") and time.monotonic() < end:
            time.sleep(0.02)
        assert not os.path.exists(f"/proc/{pid}/fd/0")


# --- without process numbers of its own, where the machine allows none


@pytest.mark.parametrize("tier", TIERS)
def test_where_the_machine_gives_no_numbers_programs_run_all_the_same(tier: str) -> None:
    source = "import os, threading\ndef solve(x):\n    t = threading.Thread(target=int); t.start(); t.join()\n    return [x, os.getpid()]"
    spy = "import time\ndef solve():\n    seen = []\n    for p in range(1, 5000):\n        try: seen.append(time.clock_gettime((~p << 3) | 2))\n        except OSError: pass\n    return seen"
    with start(tier, numbered=False) as sandbox:
        assert not sandbox.numbered
        found: list[Any] = sandbox.run([Program(source, [[1], [2]]), Program(spy, [[]])])
    assert [o.value for o in found[0]] == [[1, 1], [2, 1]]
    assert found[1] == (Outcome("value", []),)
