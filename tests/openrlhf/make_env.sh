#!/usr/bin/env bash
# Makes the environment in which OpenRLHF 0.11.2 runs on a CPU: make_env.sh [DIRECTORY]
# About six minutes and 4 GB; kept in ~/.cache/loopkit/openrlhf-0.11.2 and not made twice. Needs python3.11 and g++.
# torch's CPU build is on PyTorch's own index: name it with PIP_EXTRA_INDEX_URL where pip does not know it.
# Prints what to export.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
env=${1:-${LOOPKIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/loopkit}/openrlhf-0.11.2}
mark=$(sha256sum "$here/requirements.txt" "$here/make_env.sh" | sha256sum | cut -c1-16)
command -v g++ >/dev/null || { echo "DeepSpeed compiles its operators: install g++." >&2; exit 1; }
if [ "$(cat "$env/made" 2>/dev/null)" != "$mark" ]; then
  rm -rf "$env"
  python3.11 -m venv "$env"
  pip="$env/bin/python -m pip install --quiet --no-deps"
  $pip -r "$here/requirements.txt"  # every version that ran; torchvision and the like are left out: they need CUDA
  $pip openrlhf==0.11.2
  DS_BUILD_OPS=0 $pip --use-pep517 deepspeed==0.19.6
  # DeepSpeed compiles two operators at first use, minutes on a busy machine: here, rather than in a test's time.
  PATH="$env/bin:$PATH" DS_ACCELERATOR=cpu "$env/bin/python" -c '
from deepspeed.ops.op_builder.cpu import FusedAdamBuilder, ShareMemCommBuilder
for builder in (FusedAdamBuilder(), ShareMemCommBuilder()):
    builder.load(verbose=False)
' >&2
  echo "$mark" >"$env/made"
fi
echo "export LOOPKIT_OPENRLHF_ENV=$env LOOPKIT_OPENRLHF_PYTHON=$here/python-cpu"
