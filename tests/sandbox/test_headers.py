"""The table of system calls is what the kernel's headers say, and what libseccomp says."""

from __future__ import annotations

import ctypes
import ctypes.util

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
        missing = (kernel.PROGRAM | kernel.ZYGOTE | kernel.GUARDED | probes.CALLS) - set(table)
        assert missing <= (old | {"iopl", "memfd_secret"} if machine == "aarch64" else set())


def test_no_allowed_call_is_probed_as_forbidden() -> None:
    assert not kernel.PROGRAM & probes.CALLS
