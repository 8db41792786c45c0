"""The table of system calls is what the kernel's headers say, and what libseccomp says."""

from __future__ import annotations

import ctypes
import ctypes.util
import struct

import pytest

from loopkit.sandbox import headers
from loopkit.sandbox.inside import kernel, probes
from loopkit.sandbox.inside.syscalls import TABLE

SCMP_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


@pytest.mark.parametrize("machine", sorted(TABLE))
def test_regenerating_gives_the_same(machine: str) -> None:
    try:
        assert headers.read(machine) == TABLE[machine]
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_the_module_is_what_the_generator_writes() -> None:
    try:
        assert headers.TARGET.read_text() == headers.render()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("machine", sorted(TABLE))
def test_libseccomp_agrees(machine: str) -> None:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        pytest.skip("libseccomp is not installed (Debian: libseccomp2)")
    resolve = ctypes.CDLL(name).seccomp_syscall_resolve_name_arch
    found = {n: resolve(ctypes.c_uint32(SCMP_ARCH[machine]), n.encode()) for n in TABLE[machine]}
    unknown = {n for n, v in found.items() if v == -1}  # newer than the library
    assert len(unknown) < 5
    assert {n: v for n, v in found.items() if n not in unknown} == {
        n: v for n, v in TABLE[machine].items() if n not in unknown
    }


def test_both_machines_have_what_the_sandbox_needs() -> None:
    old = {"open", "stat", "access", "creat", "fork", "vfork", "time", "poll", "select", "dup2"}  # x86-64 only
    for machine, table in TABLE.items():
        missing = (kernel.PROGRAM | kernel.ZYGOTE | kernel.KEEPER | kernel.GUARDED | probes.CALLS) - set(table)
        assert missing <= (old | {"iopl", "memfd_secret"} if machine == "aarch64" else set())


def test_no_allowed_call_is_probed_as_forbidden() -> None:
    assert not kernel.PROGRAM & probes.CALLS


def simulate(filter: bytes, number: int, arguments: tuple[int, ...] = (0,) * 6, arch: int | None = None) -> int:
    """What a filter answers to a call: the kernel's machine, in a few lines."""
    data = struct.pack("<iIQ6Q", number, kernel.AUDIT_ARCH[kernel.MACHINE] if arch is None else arch, 0, *arguments)
    at = value = 0
    while True:
        code, true, false, k = struct.unpack_from("HBBI", filter, at * 8)
        at += 1
        if code == kernel.RET:
            return int(k)
        if code == kernel.LD:
            (value,) = struct.unpack_from("<I", data, k)
        else:
            holds = {kernel.JEQ: value == k, kernel.JGE: value >= k, kernel.JSET: value & k}[code]
            at += true if holds else false


@pytest.mark.parametrize("names", [kernel.PROGRAM, kernel.ZYGOTE, kernel.KEEPER])
def test_the_filter_allows_what_it_names_and_nothing_else(names: frozenset[str]) -> None:
    """Every number there is, by the filter's own arithmetic; the self-attack asks the kernel."""
    filter = kernel.bpf(names, kernel.THREAD_FLAGS)
    allowed = {kernel.number(n) for n in names - kernel.GUARDED} - {-1}
    guarded = {kernel.number(n) for n in kernel.GUARDED}
    for number in {*range(2000), 2**30 - 1} - guarded:
        assert simulate(filter, number) == (kernel.ALLOW if number in allowed else kernel.REFUSE)
        assert simulate(filter, number, arch=0x40000003) == kernel.KILL
    for number in (2**30, 2**30 + 1, -1, -(2**31)):
        assert simulate(filter, number) == kernel.KILL
    call = kernel.number
    for name in ("mmap", "mprotect"):
        for protection in range(8):
            wanted = kernel.REFUSE if protection & 4 else kernel.ALLOW
            assert simulate(filter, call(name), (0, 0, protection, 0, 0, 0)) == wanted
    for flags in (0x3D0F00, 0x7D0F00):
        assert simulate(filter, call("clone"), (flags, 0, 0, 0, 0, 0)) == kernel.ALLOW
        assert simulate(filter, call("clone"), (flags | 1 << 32, 0, 0, 0, 0, 0)) == kernel.REFUSE
    for flags in (0, 17, 0x1200011, 0x3D0F00 | 0x20000000, 0x3D0F00 & ~0x10000):
        assert simulate(filter, call("clone"), (flags, 0, 0, 0, 0, 0)) == kernel.REFUSE
    assert simulate(filter, call("clone3")) == kernel.ERRNO | kernel.ENOSYS


def test_the_filter_of_programs_has_no_paths_and_no_clocks_of_others() -> None:
    filter = kernel.bpf(kernel.PROGRAM, kernel.THREAD_FLAGS, program=True)
    call, absent = kernel.number, {kernel.number(n) for n in kernel.ABSENT} - {-1}
    allowed = {call(n) for n in kernel.PROGRAM - kernel.GUARDED - kernel.CLOCKS} - {-1}
    special = {call(n) for n in (*kernel.GUARDED, *kernel.CLOCKS, "ftruncate")}
    for number in set(range(2000)) - special:
        wanted = (
            kernel.ALLOW if number in allowed else kernel.ERRNO | kernel.ENOENT if number in absent else kernel.REFUSE
        )
        assert simulate(filter, number) == wanted
    for name in kernel.CLOCKS:
        for clock in (0, 1, 2, 3, 4, 7, 11):
            assert simulate(filter, call(name), (clock, 0, 0, 0, 0, 0)) == kernel.ALLOW
        for pid in (0, 1, 2, 77, 2**22):
            for kind in (0, 2, 6):
                clock = (~pid << 3) & 0xFFFFFFFF | kind
                assert simulate(filter, call(name), (clock, 0, 0, 0, 0, 0)) == kernel.REFUSE
    for fd in (0, 1, 2, 3, 4, 2**32 - 1):
        wanted = kernel.ALLOW if fd == 0 else kernel.REFUSE
        assert simulate(filter, call("ftruncate"), (fd, 0, 0, 0, 0, 0)) == wanted
