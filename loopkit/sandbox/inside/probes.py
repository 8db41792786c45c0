"""Attacks on each layer by itself, from forked children of the zygote that have this layer and no other.

A probe would succeed if its layer were missing, whatever the others do. Its answer is "stopped", or what got through.
Where a layer stands alone, only its own way of refusing counts: EPERM for seccomp, EACCES or EPERM for Landlock.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import glob
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from loopkit.sandbox.inside import kernel
from loopkit.sandbox.inside.syscalls import TABLE

STOPPED = "stopped"
CALLS = kernel.words(
    # no argument of these does harm; each is forbidden to a program (and, but for some, to the zygote)
    "open openat openat2 creat stat newfstatat statx access faccessat readlinkat getdents64 chdir mkdirat unlinkat "
    "socket socketpair connect bind listen accept4 sendto sendmsg recvmsg execve execveat fork vfork kill tkill tgkill "
    "pidfd_open pidfd_send_signal ptrace process_vm_readv process_vm_writev process_madvise kcmp prlimit64 setrlimit "
    "prctl seccomp unshare setns mount umount2 pivot_root chroot bpf perf_event_open userfaultfd io_uring_setup "
    "memfd_create pipe2 eventfd2 timerfd_create inotify_init1 fanotify_init keyctl add_key request_key shmget msgget "
    "semget mq_open personality init_module kexec_load reboot sethostname setuid setpgid setsid setpriority "
    "sched_setaffinity ioctl fcntl dup dup3 ftruncate fallocate sendfile splice vmsplice capset iopl clone3 pkey_alloc "
    "landlock_create_ruleset memfd_secret syslog sysinfo getcwd"
)
NOT_OF_ZYGOTE = kernel.words("recvmsg sendto sendmsg dup3 ftruncate prctl seccomp setrlimit prlimit64 capset")
NOT_OF_KEEPER = kernel.words("recvmsg sendto sendmsg pidfd_open pidfd_send_signal")
"""Those that zygote and keeper do make. Said a second time, so that a list that grows by mistake is seen."""


def can_fork(flags: int) -> bool:
    """Whether this machine lets a process be copied so."""
    return in_child(lambda: {"copied": STOPPED}, flags) == {"copied": STOPPED}


def in_child(probe: Callable[[], Mapping[str, str]], flags: int = 0) -> dict[str, str]:
    """Run ``probe`` in a forked child and return what it found; a child that dies is itself a finding.

    flags   of the copy, as programs have it; it is this process's child all the same.
    """
    ours, theirs = os.pipe()
    copied, errno = kernel.copy(kernel.COPY | flags & kernel.OWN_NUMBERS)
    if errno:
        os.close(ours)
        os.close(theirs)
        return {"probe": f"failed: {os.strerror(errno)}"}
    if copied:
        try:
            os.close(ours)
            os.write(theirs, json.dumps(dict(probe())).encode())
        except BaseException as error:
            os.write(theirs, json.dumps({"probe": f"failed: {type(error).__name__}: {error}"}).encode())
        os._exit(0)
    os.close(theirs)
    text = b""
    while chunk := os.read(ours, 1 << 16):
        text += chunk
    os.close(ours)
    status = os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])
    try:
        found: dict[str, str] = json.loads(text)
    except ValueError:  # it died, became another program, or forked
        return {"probe": f"got through: ended with {status} after {text[:40]!r}"}
    return found


PRIVATE = frozenset({"home", "root", "proc", "etc", "tmp", "var", "sys"})
"""Top-level directories of which nothing but the way to Python may be seen."""


def attempt(act: Callable[[], Any], *refusals: int) -> str:
    """ "stopped" if ``act`` fails with one of these errors; else what happened."""
    try:
        act()
    except OSError as error:
        return STOPPED if error.errno in refusals else f"answered {error.strerror}"
    except Exception as error:
        return f"answered {type(error).__name__}"
    return "got through"


def of_namespace(folders: list[str]) -> dict[str, str]:
    """bubblewrap by itself: a process tree, a network and a file system of its own, the last without writing.

    ``folders``: of packages, which may be seen beside Python's own.
    """

    def check(ok: bool, found: object) -> str:
        return STOPPED if ok else f"got through: {found}"

    names = [name for _, name in socket.if_nameindex()]
    odd = beside([f"{sys.base_prefix}/lib", sys.executable, *folders])
    return {
        "processes": check(os.getpid() == 1, f"pid {os.getpid()}"),
        "network": check(set(names) <= {"lo"}, names),
        "files": check(not odd, odd[:9]),
        "writing": attempt(lambda: os.mkdir("/loopkit-probe"), 30),  # EROFS
    }


def beside(needed: list[str]) -> list[str]:
    """What can be seen in folders of people and of the system, and is neither below ``needed`` nor on the way there."""
    ways: dict[str, set[str]] = {"": set()}
    for path in needed:
        way = ""
        for name in path.strip("/").split("/"):
            ways.setdefault(way, set()).add(name)
            way += f"/{name}"
    private = PRIVATE & set(os.listdir("/"))
    odd = sorted(f"/{name}" for name in private - ways[""])
    for way, names in ways.items():
        if way and way.split("/")[1] in private and not any(f"{way}/".startswith(f"{path}/") for path in needed):
            with contextlib.suppress(PermissionError):  # a closed folder is not seen into
                odd += sorted(f"{way}/{name}" for name in set(os.listdir(way)) - names)
    return odd


def of_landlock(abi: int) -> dict[str, str]:
    """Landlock by itself: to be called where it is the only layer."""
    loader = glob.glob("/lib*/ld-linux*.so*") + glob.glob("/lib/*/ld-linux*.so*")
    known = (sys.executable, os.__file__, *loader, "/etc/passwd")
    file = next((path for path in known if os.access(path, os.R_OK)), "/nothing-readable")
    program = next((path for path in known if os.access(path, os.X_OK)), "/nothing-executable")
    kernel.landlock()
    denied = (13,)  # EACCES
    found = {
        "read": attempt(lambda: os.open(file, os.O_RDONLY), *denied),
        "list": attempt(lambda: os.listdir("/"), *denied),
        "execute": attempt(lambda: os.execv(program, [program, "--version"]), *denied),
        "write": attempt(lambda: os.mkdir("/loopkit-probe"), *denied, 30),  # EROFS comes first in bubblewrap
    }
    if abi >= 4:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            found["bind"] = attempt(lambda: tcp.bind(("127.0.0.1", 0)), *denied)
            found["connect"] = attempt(lambda: tcp.connect(("127.0.0.1", 9)), *denied)
    if abi >= 6:
        found["signal"] = attempt(lambda: os.kill(os.getppid(), 0), 1)  # EPERM
    return found


def of_layers(program: bytes, zygote: bytes, keeper: bytes, abi: int) -> dict[str, dict[str, str]]:
    """Landlock and each filter, every one by itself."""
    return {
        "landlock": in_child(lambda: of_landlock(abi)),
        "seccomp, programs": in_child(lambda: of_filter(program, CALLS, kernel.ABSENT) | _clocks()),
        "seccomp, zygote": in_child(lambda: of_filter(zygote, CALLS - NOT_OF_ZYGOTE)),
        "seccomp, keeper": in_child(lambda: of_filter(keeper, CALLS - NOT_OF_KEEPER)),
        "seccomp, architecture": in_child(lambda: of_architecture(program)),
    }


def of_filter(filter: bytes, calls: frozenset[str], absent: frozenset[str] = frozenset()) -> dict[str, str]:
    """A filter by itself: ``calls`` are refused, those in ``absent`` as if there were no such path."""
    kernel.seccomp(filter)
    found = _calls(calls, absent)
    found["executable memory"] = attempt(lambda: _mmap(7), 1)
    for name, flags in (("fork flags", 17), ("new namespace", 0x10000000 | 17)):
        arguments = [ctypes.c_ulong(flags), *[ctypes.c_ulong(0)] * 4]
        found[name] = attempt(lambda a=arguments: kernel.syscall("clone", *a), 1)  # type: ignore[misc]
    return found


def _clocks() -> dict[str, str]:
    """A clock that is named after a process, as the processor time of every other one would be."""
    return {"clock of a process": attempt(lambda: time.clock_gettime((~os.getpid() << 3) | 2), 1)}


def of_architecture(filter: bytes) -> dict[str, str]:
    """Calls of the x32 numbering kill: the child must die by SIGSYS. Empty on machines that have none."""
    if kernel.MACHINE != "x86_64":
        return {}
    pid = os.fork()
    if pid == 0:
        kernel.seccomp(filter)
        kernel.libc.syscall(ctypes.c_long(0x40000000 + TABLE["x86_64"]["getpid"]))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"x32": STOPPED if status == -signal.SIGSYS else f"got through: {status}"}


def of_limits(**limits: int) -> dict[str, str]:
    """Resource limits by themselves: descriptors, memory, size of a file, threads, processor time."""
    pipe = os.pipe()
    kernel.limits(**limits)
    found = {"descriptors": attempt(lambda: [os.dup(pipe[1]) for _ in range(8)], 24)}  # EMFILE
    try:
        bytearray(limits["memory"])
        found["memory"] = "got through"
    except MemoryError:
        found["memory"] = STOPPED
    found["threads"] = _threads(limits["threads"])
    return found


def _threads(limit: int) -> str:
    _thread.stack_size(1 << 16)
    for _ in range(limit + 8):
        try:
            _thread.start_new_thread(time.sleep, (5,))
        except RuntimeError:
            return STOPPED
    return f"got through: {limit + 8} threads"


def _calls(names: frozenset[str], absent: frozenset[str] = frozenset()) -> dict[str, str]:
    refused = {"clone3": kernel.ENOSYS, **dict.fromkeys(absent, kernel.ENOENT)}
    found = {}
    for name in sorted(names):
        if (number := kernel.number(name)) >= 0:
            ctypes.set_errno(0)
            result = kernel.libc.syscall(ctypes.c_long(number), *_ARGUMENTS.get(name, _NOTHING))
            errno = ctypes.get_errno()
            stopped = result == -1 and errno == refused.get(name, kernel.EPERM)
            found[name] = STOPPED if stopped else f"answered {result}, errno {errno}"
    return found


def _mmap(protection: int) -> None:
    kernel.syscall("mmap", None, *[ctypes.c_ulong(a) for a in (4096, protection, 0x22, 2**64 - 1, 0)])


_NOTHING = tuple(ctypes.c_ulong(2**64 - 1) for _ in range(6))
"""-1 everywhere: a bad descriptor, address, pid and flag, so that a call that passes the filter does nothing."""
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    # calls that could succeed with -1, or end this process: arguments with which they do nothing
    **{name: tuple(ctypes.c_ulong(0) for _ in range(6)) for name in ("fork", "vfork", "setsid", "clone3")},
}
