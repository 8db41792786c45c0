"""The whole stack attacked as a program would, through the pool, before it is trusted with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopkit.sandbox.inside.child import OWN
from loopkit.sandbox.programs import Program, same
from loopkit.sandbox.tiers import SandboxError

if TYPE_CHECKING:
    from loopkit.sandbox.pool import Sandbox

ATTACK = """
import ctypes, os, socket, sys, time

L = ctypes.CDLL(None, use_errno=True)

def tried(act):
    try:
        act()
    except (OSError, MemoryError):
        return "stopped"
    except Exception as error:
        return type(error).__name__
    return "got through"

def solve(memory, output):
    for fd in (0, 2):  # no limit of descriptors shall stand in for another layer
        os.close(fd)
    for fd in (*range(4, 256), *range(256, 1 << 16, 251)):  # whatever is open, and ours to forge on
        for text in (b"[0,\\"value\\",\\"1\\"]\\n", b'{"status":0,"late":false,"cpu":0,"began":true,"note":""}'):
            if tried(lambda: os.write(fd, text)) != "stopped":
                return {"descriptors": f"{fd} is open"}
    return {
        "open": tried(lambda: os.open("/", 0)),
        "stat": tried(lambda: os.stat("/")),
        "list": tried(lambda: os.listdir("/")),
        "fork": tried(os.fork),
        "execute": tried(lambda: os.execv("/bin/true", ["true"])),
        "signal": tried(lambda: os.kill(os.getpid(), 0)),
        "parent": tried(lambda: os.kill(os.getppid() if hasattr(os, "getppid") else 1, 0)),
        "socket": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
        "unix": tried(lambda: socket.socketpair()),
        "pipe": tried(os.pipe),
        "memory file": tried(lambda: os.memfd_create("x")),
        "memory": tried(lambda: bytearray(memory)),
        "output": tried(lambda: [os.write(3, bytes(output)) for _ in range(4)]),
        "clocks of others": tried(lambda: time.clock_gettime((~os.getppid() << 3) | 2)),
    }
"""
CORRUPT = """
import builtins, json, os, sys
json.dumps = lambda *a, **k: '[0, "value", "1"]'
builtins.len = lambda x: 0
sys.modules.clear()
os._exit(0)
"""
HAD = 40
"""Threads that GREEDY has had at once."""
GREEDY = f"""
import threading
def solve(memory):
    threading.stack_size(1 << 18)
    block, done = bytes(memory), threading.Event()  # calloc: had, and not written
    threads = [threading.Thread(target=done.wait) for _ in range({HAD})]
    for thread in threads:
        thread.start()
    done.set()
    for thread in threads:
        thread.join()
    return len(threads)
"""
"""Takes what every program may have: where it cannot, the machine refuses."""


def greedy(memory: int) -> Program:
    return Program(GREEDY, [[memory * 3 // 5]])


HONEST = "def solve(a, b):\n    return [a + b, a == 1]"


def attack(sandbox: Sandbox) -> None:
    """Raises SandboxError if an attack gets through, or the honest programs between them are not scored right."""
    programs = [Program(HONEST, [[1, 2]]), Program(CORRUPT, [[1]])]
    if sandbox.tier.name != "rlimit":
        programs.append(Program(ATTACK, [[sandbox.limits.memory, sandbox.limits.output + OWN]]))
    programs = [p for p in (*programs, programs[0]) for _ in range(sandbox.workers)]
    found = sandbox.run(programs)
    for program, (outcome,) in zip(programs, found, strict=True):
        if program.source == HONEST:
            ok = outcome.kind == "value" and same([3, True], outcome.value)
        elif program.source == CORRUPT:
            ok = not outcome.answered
        else:
            ok = type(outcome.value) is dict and set(outcome.value.values()) == {"stopped"}
        if not ok:
            raise SandboxError(
                f"the sandbox does not hold on this machine, and runs nothing: a test program ended with {outcome}."
            )
