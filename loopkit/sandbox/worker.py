"""One worker: a zygote started in its tier, verified before its first program, and spoken to over one socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loopkit.sandbox import store
from loopkit.sandbox.inside import probes
from loopkit.sandbox.tiers import SandboxError, Tier, interpreter

START = 30.0
"""Seconds that a worker may take to start, on a machine that is busy with something else."""
Report = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Job:
    """One child's work: what is sent of it, and the memory files it reads and writes."""

    message: bytes
    program: int
    out: int
    stdin: int

    def close(self) -> None:
        for fd in (self.program, self.out, self.stdin):
            os.close(fd)


class Worker:
    """A running zygote. Raises SandboxError where it does not come up, or a layer does not hold."""

    def __init__(self, tier: Tier, memory: int, sources: Mapping[str, str] | None = None) -> None:
        sources = store.own_sources() if sources is None else sources
        self.tier = tier
        self.pidfd = -1
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        modules = store.build(sources)
        try:
            self._process = self._start(sources["importer"], theirs.fileno(), modules)
        except OSError as error:
            self.socket.close()
            self._errors.close()
            raise SandboxError(f"a worker could not be started: {error}") from error
        finally:
            theirs.close()
            os.close(modules)
        try:
            self.abi = self._verify(memory)
        except BaseException:
            self.close()
            raise

    def _start(self, importer: str, control: int, modules: int) -> subprocess.Popen[bytes]:
        command = [interpreter(), "-s", "-S", "-P", "-B", "-W", "ignore", "-X", "utf8", "-c", importer + BOOT]
        return subprocess.Popen(
            self.tier.argv([*command, str(control), str(modules)]),
            pass_fds=(control, modules),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env={"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1"},
            cwd="/",
            start_new_session=True,
        )

    def _verify(self, memory: int) -> int:
        """Hold the report of the probes, and the kernel's own account, to the tier. Returns Landlock's version."""
        self.socket.settimeout(START)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        settings = {"tier": self.tier.name, "memory": memory, "root": os.geteuid() == 0}
        try:
            self.socket.send(json.dumps(settings).encode())
            message, credentials, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(12))
            hello = json.loads(message)
        except (OSError, ValueError) as error:
            raise SandboxError(f"the sandbox's worker did not come up ({error}). It said: {self._said()}") from error
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        pid = next((int.from_bytes(d[:4], "little") for _, kind, d in credentials if kind == socket.SCM_CREDENTIALS), 0)
        try:
            self.pidfd = os.pidfd_open(pid)
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except OSError as error:
            raise SandboxError(f"the sandbox's worker cannot be looked at from outside: {error}.") from error
        if wrong := _report(hello["report"], self.tier.name) + _account(status, self.tier.name):
            raise SandboxError(f"the sandbox does not hold on this machine, and runs nothing: {'; '.join(wrong[:5])}.")
        self.socket.setblocking(False)
        return int(hello["abi"])

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-400:].decode("utf-8", "replace").strip() or "nothing"

    def send(self, job: Job) -> None:
        """Raises OSError where the worker is gone."""
        socket.send_fds(self.socket, [job.message], [job.program, job.out, job.stdin])

    def receive(self) -> dict[str, Any] | None:
        """The next answer; None where the worker is gone."""
        try:
            message = self.socket.recv(1 << 16)
            answer: dict[str, Any] = json.loads(message)
        except (OSError, ValueError):
            return None
        return answer

    def close(self) -> None:
        """End the worker and whatever it runs."""
        self.socket.close()  # it ends itself, and its program, on this
        if self.pidfd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.close(self.pidfd)
            self.pidfd = -1
        else:
            self._process.kill()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


BOOT = """

if __name__ == "__main__":
    import os, socket
    preload()
    control, modules = map(int, sys.argv[1:])
    importer = install(modules)
    os.close(modules)
    from loopkit.sandbox.inside import zygote
    zygote.main(socket.socket(fileno=control), importer)
"""

EXPECTED = {
    "bubblewrap": {"bubblewrap", "limits", "landlock", "seccomp, programs", "seccomp, zygote", "seccomp, architecture",
                   "zygote"},
    "seccomp": {"limits", "landlock", "seccomp, programs", "seccomp, zygote", "seccomp, architecture", "zygote"},
    "rlimit": {"limits"},
}  # fmt: skip
"""The probes each tier must report on."""


def _report(report: Report, tier: str) -> list[str]:
    """What got through, by layer and probe."""
    missing = [f"{layer}: not probed" for layer in sorted(EXPECTED[tier] - set(report))]
    got = [(layer, probe, said) for layer, found in report.items() for probe, said in found.items()]
    return missing + [f"{layer}: {probe} {said}" for layer, probe, said in got if said != probes.STOPPED]


def _account(status: Mapping[str, str], tier: str) -> list[str]:
    """What the kernel itself says of the worker, from outside its namespaces, that does not fit its tier."""
    wrong = []
    if "0" in status["Uid"].split():
        wrong.append("the worker runs as root")
    if int(status["CapEff"], 16) or int(status["CapPrm"], 16):
        wrong.append("the worker has capabilities")
    if tier != "rlimit" and (status["NoNewPrivs"], status["Seccomp"]) != ("1", "2"):
        wrong.append("the kernel knows of no filter on the worker")
    if tier == "bubblewrap" and len(status.get("NSpid", "").split()) < 2:
        wrong.append("the worker is in no process namespace of its own")
    return wrong
