"""One worker: keeper and zygote started in their tier, verified before the first program, spoken to over a socket."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loopkit.sandbox import store
from loopkit.sandbox.inside import probes
from loopkit.sandbox.inside.child import OWN
from loopkit.sandbox.programs import Limits
from loopkit.sandbox.tiers import SandboxError, Tier, interpreter

START = 30.0
"""Seconds that a worker may take to start, on a machine that is busy with something else."""
Report = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Job:
    """One child's work: its number, what is sent of it, and its memory files in the order of ``inside.child``."""

    number: int
    message: bytes
    program: int
    stdin: int
    out: int
    errors: int
    note: int

    @property
    def files(self) -> list[int]:
        return [self.program, self.stdin, self.out, self.errors, self.note]

    def close(self) -> None:
        for fd in self.files:
            os.close(fd)


@dataclass(frozen=True)
class Answer:
    """What the keeper says of a job: how its process ended and what it used.

    status   as of subprocess; killed: which time was over, or ""; cpu: seconds; refused: the errno of a machine that
             made no process, or 0.
    """

    job: int
    status: int
    killed: str
    cpu: float
    refused: int

    @classmethod
    def parse(cls, message: bytes) -> Answer | None:
        """None for anything that the keeper would not have written."""
        try:
            data = json.loads(message)
        except ValueError:
            return None
        kinds = {"job": int, "status": int, "killed": str, "cpu": float, "refused": int}
        if type(data) is not dict or {k: type(v) for k, v in data.items()} != kinds:
            return None
        return cls(**data)


class Worker:
    """A running keeper with its zygote. Raises SandboxError where it does not come up, or a layer does not hold."""

    def __init__(
        self,
        tier: Tier,
        limits: Limits,
        sources: Mapping[str, str] | None = None,
        packages: Sequence[str] = (),
        numbered: bool = True,
    ) -> None:
        sources = store.own_sources() if sources is None else sources
        self.tier, self._packages = tier, packages
        self.pidfd = -1
        self.numbered = False
        with contextlib.ExitStack() as opened:
            try:
                self._errors = opened.enter_context(tempfile.TemporaryFile())
                self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                opened.callback(self.socket.close)
                with theirs, open(store.build(sources), "rb") as modules:
                    self._process = self._start(sources["importer"], theirs.fileno(), modules.fileno())
            except OSError as error:
                raise SandboxError(f"a worker could not be started: {error}") from error
            opened.pop_all()
        try:
            self.abi = self._verify(limits, numbered)
        except BaseException:
            self.close()
            raise

    def _start(self, importer: str, control: int, modules: int) -> subprocess.Popen[bytes]:
        command = [interpreter(), "-s", "-S", "-P", "-B", "-W", "ignore", "-X", "utf8", "-c", importer + BOOT]
        return subprocess.Popen(
            self.tier.argv([*command, str(control), str(modules), *self._packages]),
            pass_fds=(control, modules),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env={"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            cwd="/",
            start_new_session=True,
        )

    def _verify(self, limits: Limits, numbered: bool) -> int:
        """Hold the report of the probes, and the kernel's own account, to the tier. Returns Landlock's version."""
        self.socket.settimeout(START)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        settings: dict[str, Any] = {"tier": self.tier.name, "folders": self.tier.folders, "memory": limits.memory}
        settings |= {"room": limits.output + OWN, "root": os.geteuid() == 0, "numbered": numbered}
        try:
            self.socket.send(json.dumps(settings).encode())
            keeper, zygote = sorted((self._greeting(), self._greeting()), key=lambda hello: "report" not in hello)
            report, abi, self.numbered = keeper["report"], int(keeper["abi"]), bool(keeper["numbered"])
            self.pidfd = os.pidfd_open(keeper["pid"])
        except (OSError, ValueError, KeyError) as error:
            raise SandboxError(f"the sandbox's worker did not come up ({error}). It said: {self._said()}") from error
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        wrong = _report(report, self.tier.name)
        for name, hello in (("keeper", keeper), ("zygote", zygote)):
            wrong += _account(hello["status"], self.tier.name, name)
        if wrong:
            raise SandboxError(f"the sandbox does not hold on this machine, and runs nothing: {'; '.join(wrong[:5])}.")
        self.socket.setblocking(False)
        return abi

    def _greeting(self) -> dict[str, Any]:
        """What a process inside says, its number out here, and what the kernel says of it."""
        message, credentials, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(12))
        pid = next((int.from_bytes(d[:4], "little") for _, kind, d in credentials if kind == socket.SCM_CREDENTIALS), 0)
        hello: dict[str, Any] = json.loads(message)
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        return {**hello, "pid": pid, "status": status}

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-400:].decode("utf-8", "replace").strip() or "nothing"

    def send(self, job: Job) -> None:
        """Raises OSError where the worker is gone."""
        socket.send_fds(self.socket, [job.message], job.files)

    def receive(self) -> Answer | None:
        """The next answer; None where the worker is gone, or says what no keeper says."""
        try:
            return Answer.parse(self.socket.recv(1 << 16))
        except OSError:
            return None

    def silent(self) -> bool:
        """Whether nothing waits to be read: of a worker that holds no job, anything does not belong there."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return not poll.poll(0)

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
    preload(sys.argv[3:])
    control, modules = map(int, sys.argv[1:3])
    importer = install(modules)
    os.close(modules)
    from loopkit.sandbox.inside import zygote
    zygote.main(socket.socket(fileno=control), importer)
"""

EXPECTED = {
    "bubblewrap": {"bubblewrap", "limits", "landlock", "seccomp, programs", "seccomp, zygote", "seccomp, keeper",
                   "seccomp, architecture", "zygote"},
    "seccomp": {"limits", "landlock", "seccomp, programs", "seccomp, zygote", "seccomp, keeper",
                "seccomp, architecture", "zygote"},
    "rlimit": {"limits"},
}  # fmt: skip
"""The probes each tier must report on."""


def _report(report: Report, tier: str) -> list[str]:
    """What got through, by layer and probe."""
    missing = [f"{layer}: not probed" for layer in sorted(EXPECTED[tier] - set(report))]
    got = [(layer, probe, said) for layer, found in report.items() for probe, said in found.items()]
    return missing + [f"{layer}: {probe} {said}" for layer, probe, said in got if said != probes.STOPPED]


def _account(status: Mapping[str, str], tier: str, name: str) -> list[str]:
    """What the kernel itself says of a process inside, from outside its namespaces, that does not fit its tier."""
    wrong = []
    if "0" in status["Uid"].split():
        wrong.append(f"the {name} runs as root")
    if int(status["CapEff"], 16) or int(status["CapPrm"], 16):
        wrong.append(f"the {name} has capabilities")
    if tier != "rlimit" and (status["NoNewPrivs"], status["Seccomp"]) != ("1", "2"):
        wrong.append(f"the kernel knows of no filter on the {name}")
    if tier == "bubblewrap" and len(status.get("NSpid", "").split()) < 2:
        wrong.append(f"the {name} is in no process namespace of its own")
    return wrong
