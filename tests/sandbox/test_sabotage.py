"""The sandbox itself is sabotaged, one layer at a time: each time it must refuse to start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loopkit.sandbox import Sandbox, SandboxError, store, tiers
from loopkit.sandbox.inside import kernel
from tests.sandbox.conftest import start

FILTER = "sched_yield nanosleep"
CLONE = "flags = list(clone_flags)"
SABOTAGE: dict[str, tuple[str, str, str, str]] = {
    # name: (module, text, what it becomes, what the refusal names)
    "no Landlock": ("kernel", '        syscall("landlock_restrict_self", ctypes.c_int(fd), ctypes.c_uint(0))\n',
                    "        pass\n", "landlock: "),
    "Landlock without files": ("kernel", 'struct.pack("QQQ", files, 3, 3)', 'struct.pack("QQQ", 1 << 12, 3, 3)',
                               "landlock: "),
    "Landlock without signals": ("kernel", "files, 3, 3)", "files, 3, 1)", "landlock: signal"),
    "Landlock without the network": ("kernel", "files, 3, 3)", "files, 0, 3)", "landlock: bind"),
    "a filter that is not installed": ("kernel",
                                       "    _prctl(22, 2, ctypes.addressof(program))", "    pass #", "seccomp"),
    "a filter that allows open": ("kernel", FILTER, f"{FILTER} openat open", "seccomp, programs: open"),
    "a filter that allows kill": ("kernel", FILTER, f"{FILTER} kill tgkill", "seccomp, programs: kill"),
    "a filter that allows sockets": ("kernel", FILTER, f"{FILTER} socket connect", "seccomp, programs: connect"),
    "a filter that allows ptrace": ("kernel", FILTER, f"{FILTER} ptrace", "seccomp, programs: ptrace"),
    "a filter that allows execve": ("kernel", FILTER, f"{FILTER} execve", "seccomp, programs: execve"),
    "a filter that allows stat": ("kernel", FILTER, f"{FILTER} newfstatat", "seccomp, programs: newfstatat"),
    "a filter that allows fork": ("kernel", CLONE, "flags = [*clone_flags, 17]", "seccomp, programs"),
    "a filter without a default": ("kernel", "[(RET, 0, 0, REFUSE), (RET, 0, 0, ERRNO | ENOENT), ",
                                   "[(RET, 0, 0, ALLOW), (RET, 0, 0, ERRNO | ENOENT), ", "seccomp, programs"),
    "a filter that lets the clocks of others be read": ("kernel", "(JGE, 0, 1, 1 << 31)", "(JGE, 0, 1, 0xFFFFFFFF)",
                                                        "clock of a process"),
    "a keeper that may open files": ("kernel", "wait4 waitid pidfd_open", "openat wait4 waitid pidfd_open",
                                     "seccomp, keeper: openat"),
    "a keeper that may make processes": ("zygote", "kernel.bpf(kernel.KEEPER, ())", "kernel.bpf(kernel.KEEPER, (17,))",
                                         "seccomp, keeper: "),
    "a filter that lets memory be executed": ("kernel", "(JSET, 0, 1, 4)", "(JSET, 0, 1, 128)", "executable memory"),
    "a filter that lets x32 pass": ("kernel", "(JGE, 0, 1, 0x40000000)",
                                    "(JGE, 0, 1, 0xF0000000)", "architecture: x32"),
    "programs without their filter": ("child", "    if filter is not None:\n        kernel.seccomp(filter)\n", "",
                                      "test program"),
    "programs without their limits": ("child", "    kernel.limits(cpu=", "    dict(cpu=", "test program"),
    "a zygote without its filter": ("zygote", "        kernel.seccomp(filters[1])\n", "        pass\n",
                                    "no filter on the zygote"),
    "a keeper without its filter": ("zygote", "        kernel.seccomp(filters[2])\n", "        pass\n",
                                    "no filter on the keeper"),
    "descriptors left open": ("child", "    kernel.close_from(program + 1)\n", "",
                                                            "test program"),
    "root is kept": ("kernel",
                     "    if os.geteuid() != 0:\n        return\n    os.setgroups([])", "    return", "as root"),
    "no limit of descriptors": ("kernel", "        (resource.RLIMIT_NOFILE, 4, True),\n", "", "limits: descriptors"),
    "no limit of memory": ("kernel", "        (resource.RLIMIT_AS, memory, True),\n", "", "limits: memory"),
    "no limit of threads": ("kernel", "        (resource.RLIMIT_NPROC, threads, True),\n", "", "limits: threads"),
    "a layer that is not probed": ("probes", '"landlock": in_child', '"landlook": in_child', "landlock: not probed"),
    "a child that is never begun": ("child", "    _mark(BEGAN)\n", "    _mark(FAILED)\n", "could not be set up"),
}  # fmt: skip


@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_is_refused(name: str) -> None:
    module, text, other, says = SABOTAGE[name]
    if name == "a filter that lets x32 pass" and kernel.MACHINE != "x86_64":
        pytest.skip("x32 is a numbering of x86-64's")
    if name == "root is kept" and not _root():
        pytest.skip("root is kept: these tests do not run as root")
    if name.startswith("Landlock without") and kernel.landlock_abi() < 6:
        pytest.skip(f"{name}: Landlock {kernel.landlock_abi()} has no such rule")
    sources = dict(store.own_sources())
    assert sources[module].count(text) == 1, "the sabotage no longer fits the source"
    sources[module] = sources[module].replace(text, other)
    with start("seccomp"):
        pass  # or skip: it holds on this machine
    with pytest.raises(SandboxError, match=says.replace("[", r"\[")) as caught:
        Sandbox("seccomp", workers=1, sources=sources)
    assert "runs nothing" in str(caught.value) or "failed 3 times" in str(caught.value)


def _root() -> bool:
    import os

    return os.geteuid() == 0


def fake(folder: Path, text: str) -> str:
    file = folder / "bwrap"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


PASSES = 'while [ "$1" != "--" ]; do shift; done; shift; exec "$@"'
FAKES = {
    # name: (script, what the refusal says)
    "only passes on": (PASSES, "does not hold"),
    "makes a process namespace, and no more": (
        PASSES.replace('exec "$@"', 'exec unshare --pid --fork --kill-child "$@"'), "does not hold"
    ),
    "fails": ("exit 1", "does not work: exit code 1"),
    "says nothing, and succeeds": ("exit 0", "does not work"),
    "is another program": ("echo hello", "does not work"),
    "answers the trial, then dies": ('case "$*" in *--version) echo Python 3;; *) exit 3;; esac', "did not come up"),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["bubblewrap", "auto"])
@pytest.mark.parametrize("name", FAKES)
def test_a_fake_bubblewrap_is_refused(name: str, mode: str, tmp_path: Path) -> None:
    """In auto as well: what claims to be bubblewrap and is not is no reason to do without."""
    script, says = FAKES[name]
    if "unshare" in script and not _root():
        pytest.skip(f"{name}: needs root")
    with pytest.raises(SandboxError, match=says):
        Sandbox(mode, workers=1, bwrap=fake(tmp_path, script))


def test_a_bubblewrap_without_a_namespace_is_refused(tmp_path: Path) -> None:
    real = tiers.find_bwrap()
    if real is None:
        pytest.skip("bubblewrap is not installed")
    for option, says in (("--unshare-net", "network"), ("--unshare-pid", "processes|process namespace|as-pid-1")):
        script = f'for a; do shift; [ "$a" = {option} ] || set -- "$@" "$a"; done; exec {real} "$@"'
        with pytest.raises(SandboxError, match=says):
            Sandbox("bubblewrap", workers=1, bwrap=fake(tmp_path, script))


def test_a_bubblewrap_that_shows_everything_is_refused(tmp_path: Path) -> None:
    real = tiers.find_bwrap()
    if real is None:
        pytest.skip("bubblewrap is not installed")
    script = f'for a; do shift; [ "$a" = -- ] && set -- "$@" --ro-bind / /; set -- "$@" "$a"; done; exec {real} "$@"'
    with pytest.raises(SandboxError, match="files"):
        Sandbox("bubblewrap", workers=1, bwrap=fake(tmp_path, script))


def test_a_missing_bubblewrap_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "find_bwrap", lambda: None)
    with pytest.raises(SandboxError, match=r"bwrap is not installed. Install bubblewrap \(Debian"):
        Sandbox("bubblewrap")


def test_auto_without_bubblewrap_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "find_bwrap", lambda: None)
    with start("auto") as sandbox:
        assert sandbox.tier.name == "seccomp"
        assert "bubblewrap is not installed. Install" in sandbox.tier.why


def test_auto_where_namespaces_are_not_allowed(tmp_path: Path) -> None:
    """As bwrap says it on Ubuntu and in Docker."""
    text = "echo 'bwrap: No permissions to create new namespace, likely because the kernel does not allow' >&2; exit 1"
    with start("auto", bwrap=fake(tmp_path, text)) as sandbox:
        assert sandbox.tier.name == "seccomp"
        assert "does not allow bubblewrap its namespaces" in sandbox.tier.why
    with pytest.raises(SandboxError, match="No permissions to create new namespace"):
        Sandbox("bubblewrap", bwrap=fake(tmp_path, text))


@pytest.mark.parametrize("mode", ["auto", "bubblewrap", "seccomp"])
def test_a_kernel_without_landlock_is_refused(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "landlock_abi", lambda: 0)
    with pytest.raises(SandboxError, match="needs Landlock"):
        Sandbox(mode)


@pytest.mark.parametrize("mode", ["auto", "bubblewrap", "seccomp", "rlimit"])
def test_other_systems_are_refused(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="run on Linux only"):
        Sandbox(mode)


def test_other_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers.platform, "machine", lambda: "riscv64")
    with pytest.raises(SandboxError, match="x86_64 and aarch64"):
        Sandbox("seccomp")
