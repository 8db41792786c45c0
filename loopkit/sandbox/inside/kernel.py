"""The kernel's layers, through ctypes: seccomp, Landlock, resource limits, another user id.

Each function takes hold of the calling process and its children for good, or raises OSError. Numbers of system calls
come from ``syscalls``, which is generated. Sources: seccomp(2), landlock(7), prctl(2), include/uapi/linux/.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Iterable

from loopkit.sandbox.inside.syscalls import TABLE

MACHINE = platform.machine()
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000  # SECCOMP_RET_*
EPERM, ENOENT, ENOSYS = 1, 2, 38
THREAD_FLAGS = (0x3D0F00, 0x7D0F00)  # what glibc and musl start a thread with: never a process, never a namespace
COPY = 0x01000000 | 17  # CLONE_CHILD_SETTID | SIGCHLD: a child, as fork makes it
SIBLING = COPY | 0x8000  # CLONE_PARENT: a child of the caller's parent
OWN_NUMBERS = 0x10000000 | 0x20000000  # CLONE_NEWUSER | CLONE_NEWPID: users and process numbers of its own


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROGRAM = words(
    "read write readv writev pread64 lseek close fstat poll ppoll select pselect6 mmap mprotect munmap mremap madvise "
    "brk rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall sched_yield nanosleep clock_nanosleep "
    "clock_gettime clock_getres gettimeofday time getpid gettid getuid geteuid getgid getegid uname getrandom futex "
    "rseq set_robust_list setitimer getrusage times exit exit_group"
)
"""What a program may call: its own memory, its own open descriptors, clocks. ``clone`` for a thread, besides."""
ZYGOTE = PROGRAM | words(
    "recvmsg sendto sendmsg dup2 dup3 close_range ftruncate prctl seccomp setrlimit prlimit64 capset"
)
"""What the zygote may call, besides a clone that becomes its parent's child: no file, no socket, no signal."""
KEEPER = PROGRAM | words("recvmsg sendto sendmsg wait4 waitid pidfd_open pidfd_send_signal")
"""What the keeper may call: no file, no socket, no process or thread, no signal but through a descriptor."""
GUARDED = words("clone clone3 mmap mprotect")
"""Calls with a rule of their own: the flags of clone, and no memory that can be executed."""
ABSENT = words(
    "open openat openat2 creat stat newfstatat statx access faccessat faccessat2 readlink readlinkat execve execveat"
)
"""Calls that name a path: a program is told that there is none, as it would be of a missing file."""
CLOCKS = words("clock_gettime clock_getres clock_nanosleep")
"""Calls that a program may make on clocks with a name, not on the processor time of another process or thread."""

_getrlimit, _setrlimit = resource.getrlimit, resource.setrlimit  # ``surroundings`` gives programs others
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
_fork = ctypes.PyDLL(None, use_errno=True)["syscall"]  # keeps the interpreter's lock, as fork does
_fork.restype = None


def number(name: str) -> int:
    """This machine's number of a system call; -1 where it has none. Raises OSError on an unknown machine."""
    if MACHINE not in TABLE:
        raise OSError(ENOSYS, f"no system-call table for {MACHINE}: x86_64 and aarch64 are known")
    return TABLE[MACHINE].get(name, -1)


def syscall(name: str, *arguments: object) -> int:
    """The call's result. Raises OSError."""
    result = libc.syscall(ctypes.c_long(number(name)), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return int(result)


# --- seccomp --------------------------------------------------------------------------------------------------

LD, JEQ, JGE, JSET, RET = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
NR, ARCH, ARGS = 0, 4, 16  # offsets in struct seccomp_data; arguments are 64 bits, little-endian
REFUSE = ERRNO | EPERM
Code = list[tuple[int, int, int, int]]
"""Instructions: code, how many to skip if true and if false, operand."""


def bpf(names: Iterable[str], clone_flags: Iterable[int], *, program: bool = False) -> bytes:
    """A filter that allows ``names`` and clone with exactly these flags, refuses the rest with EPERM, and kills on
    another architecture's calls (32-bit, x32).

    program   refuse the clocks of other processes, and say ENOENT to calls that name a path. The standard input may be
              cut to length.
    Short, since it is compiled anew for every program: one instruction a call.
    """
    code: Code = [(LD, 0, 0, ARCH), (JEQ, 1, 0, AUDIT_ARCH[MACHINE]), (RET, 0, 0, KILL)]
    code += [(LD, 0, 0, NR), (JGE, 0, 1, 0x40000000), (RET, 0, 0, KILL)]
    if "mmap" in names:
        for name in ("mmap", "mprotect"):  # argument 2 is the protection; 4 is PROT_EXEC
            code += [(JEQ, 0, 4, number(name)), (LD, 0, 0, ARGS + 2 * 8), (JSET, 0, 1, 4)]
            code += [(RET, 0, 0, REFUSE), (RET, 0, 0, ALLOW)]
    code += [(JEQ, 0, 1, number("clone3")), (RET, 0, 0, ERRNO | ENOSYS)]  # flags in memory: libc falls back to clone
    flags = list(clone_flags)
    code += [(JEQ, 0, 2 * len(flags) + 5, number("clone")), (LD, 0, 0, ARGS + 4), (JEQ, 1, 0, 0)]
    code += [(RET, 0, 0, REFUSE), (LD, 0, 0, ARGS)]
    for flag in flags:
        code += [(JEQ, 0, 1, flag), (RET, 0, 0, ALLOW)]
    code += [(RET, 0, 0, REFUSE)]
    if program:
        for name in sorted(CLOCKS):  # argument 0 is the clock: from 2**31 on, the processor time of a process
            code += [(JEQ, 0, 4, number(name)), (LD, 0, 0, ARGS), (JGE, 0, 1, 1 << 31)]
            code += [(RET, 0, 0, REFUSE), (RET, 0, 0, ALLOW)]
        code += [(JEQ, 0, 4, number("ftruncate")), (LD, 0, 0, ARGS), (JEQ, 0, 1, 0)]  # of descriptor 0 alone
        code += [(RET, 0, 0, ALLOW), (RET, 0, 0, REFUSE)]
    guarded = GUARDED | CLOCKS if program else GUARDED
    allowed, absent = _numbers(frozenset(names) - guarded), _numbers(ABSENT if program else ())
    left = len(allowed) + len(absent)
    code += [(JEQ, left + 1 - k, 0, n) for k, n in enumerate(allowed)]  # each skips to the last line
    code += [(JEQ, len(absent) - k, 0, n) for k, n in enumerate(absent)]  # each skips to the last line but one
    code += [(RET, 0, 0, REFUSE), (RET, 0, 0, ERRNO | ENOENT), (RET, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in code)


def _numbers(names: Iterable[str]) -> list[int]:
    return sorted({number(name) for name in names} - {-1})


def seccomp(filter: bytes) -> None:
    """Install a filter on the calling thread."""
    code = ctypes.create_string_buffer(filter)
    program = ctypes.create_string_buffer(struct.pack("H6xQ", len(filter) // 8, ctypes.addressof(code)))
    _prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    _prctl(22, 2, ctypes.addressof(program))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def undumpable() -> None:
    """Nobody of the same user may trace this process or read its memory."""
    _prctl(4, 0)  # PR_SET_DUMPABLE


def _prctl(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded):
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


# --- Landlock -------------------------------------------------------------------------------------------------


def landlock_abi() -> int:
    """The kernel's Landlock version; 0 where it is missing or disabled."""
    try:
        return syscall("landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def landlock() -> int:
    """Forbid every file system right, TCP, and signals and abstract sockets to the outside, as far as this kernel's
    Landlock knows them. Returns its version. Raises OSError where it has none."""
    abi = landlock_abi()
    if abi < 1:
        raise OSError(ENOSYS, "this kernel has no Landlock")
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    rules = struct.pack("QQQ", files, 3, 3)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    fd = syscall("landlock_create_ruleset", rules, ctypes.c_size_t(len(rules)), ctypes.c_uint(0))
    try:
        _prctl(38, 1)
        syscall("landlock_restrict_self", ctypes.c_int(fd), ctypes.c_uint(0))
    finally:
        os.close(fd)
    return abi


# --- processes ------------------------------------------------------------------------------------------------


def copy(flags: int) -> tuple[bool, int]:
    """Copy the calling process, as ``flags`` say: (whether this is the copy, errno where the machine refused).

    The copy's number is written to the copy alone: the memory that later programs are copied from holds nothing of it.
    Of one thread only; Python's and libc's own fork would store it, and run hooks that a copy of one thread does not
    need.
    """
    own = ctypes.c_int(0)
    ctypes.set_errno(0)
    zero, place = ctypes.c_ulong(0), ctypes.byref(own)  # the place is argument 3 or 4, by machine
    _fork(ctypes.c_long(number("clone")), ctypes.c_ulong(flags), zero, zero, place, place)
    return own.value != 0, ctypes.get_errno()


def drop_capabilities() -> None:
    """Those that a process has in user namespaces of its own. Raises OSError."""
    syscall("capset", struct.pack("Ii", 0x20080522, 0), bytes(24))


def die_with_parent() -> None:
    """Be killed when the parent ends, whoever ends it."""
    _prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL


def close_from(first: int) -> None:
    """Close every descriptor from ``first`` on, however many there are."""
    try:
        syscall("close_range", ctypes.c_uint(first), ctypes.c_uint(2**32 - 1), ctypes.c_uint(0))
    except OSError:  # before Linux 5.9: resource limits only
        os.closerange(first, min(_getrlimit(resource.RLIMIT_NOFILE)[1] & (2**31 - 1), 1 << 20))


# --- limits and users -----------------------------------------------------------------------------------------


def limits(*, cpu: int, memory: int, output: int, threads: int) -> None:
    """Resource limits of the calling process, for good: seconds, bytes, bytes a file, threads of this user.

    Raises OSError where the machine's own hard limit is below what was promised to a program.
    """
    for what, value, promised in (
        (resource.RLIMIT_CORE, 0, False),
        (resource.RLIMIT_FSIZE, output, True),
        (resource.RLIMIT_NOFILE, 4, True),
        (resource.RLIMIT_NPROC, threads, True),
        (resource.RLIMIT_CPU, cpu, True),
        (resource.RLIMIT_STACK, 64 << 20, False),
        (resource.RLIMIT_AS, memory, True),
    ):
        hard = _getrlimit(what)[1]
        if hard != resource.RLIM_INFINITY and hard < value:
            if promised:
                raise OSError(EPERM, f"a hard limit of this machine (ulimit -H) is {hard}, below the {value} wanted")
            value = hard
        _setrlimit(what, (value, value))


def drop_root() -> None:
    """From root to a user id that nobody has (else nobody's); nothing for an ordinary user. Drops capabilities."""
    if os.geteuid() != 0:
        return
    os.setgroups([])
    for uid in (2_000_000_000 + int.from_bytes(os.urandom(4), "little") % 100_000_000, 65534):
        try:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            return
        except OSError:
            if uid == 65534:
                raise


def tasks() -> int:
    """Threads of this process's user that /proc shows; 0 where there is no /proc (a namespace of its own)."""
    uid, found = os.getuid(), 0
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                found += len(os.listdir(f"/proc/{name}/task"))
        except OSError:  # it ended, or is another's
            continue
    return found
