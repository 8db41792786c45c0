"""Writes ``inside/syscalls.py`` from the kernel's own headers: ``python -m loopkit.sandbox.headers``.

Needs Debian's linux-libc-dev, of any machine for x86-64; aarch64 has the generic numbers of asm-generic/unistd.h.
"""

from __future__ import annotations

import re
from pathlib import Path

from loopkit.sandbox.inside import kernel, probes

SOURCES = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/x86_64-linux-gnu/include/asm/unistd_64.h"),
    "aarch64": (
        "/usr/aarch64-linux-gnu/include/asm/unistd_64.h",
        "/usr/aarch64-linux-gnu/include/asm-generic/unistd.h",
        "/usr/include/aarch64-linux-gnu/asm/unistd_64.h",
        "/usr/include/asm-generic/unistd.h",
    ),
}
TARGET = Path(__file__).parent / "inside" / "syscalls.py"
NAMES = kernel.PROGRAM | kernel.ZYGOTE | kernel.KEEPER | kernel.GUARDED | kernel.ABSENT | probes.CALLS | {
    "landlock_create_ruleset", "landlock_restrict_self",
}  # fmt: skip


def read(machine: str) -> dict[str, int]:
    """Name -> number of what the sandbox names and this machine has. Raises FileNotFoundError without headers."""
    found = [Path(p) for p in SOURCES[machine] if Path(p).exists()]
    if not found:
        raise FileNotFoundError(
            f"no kernel headers for {machine}: install linux-libc-dev (looked at {SOURCES[machine]})"
        )
    defined = dict(re.findall(r"^#define (__NR\w+)\s+(\w+)", found[0].read_text(), re.MULTILINE))

    def value(text: str | None) -> int | None:  # a name may be defined as another, which this machine may lack
        return int(text) if text and text.isdigit() else value(defined.get(text)) if text else None

    return {n: v for n in sorted(NAMES) if (v := value(defined.get(f"__NR_{n}"))) is not None}


def render() -> str:
    """The text of the module."""
    lines = ['"""System-call numbers, written by ``python -m loopkit.sandbox.headers``: do not edit."""', ""]
    lines += ["TABLE: dict[str, dict[str, int]] = {"]
    for machine in sorted(SOURCES):
        lines += [f'    "{machine}": {{', *(f'        "{n}": {v},' for n, v in read(machine).items()), "    },"]
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    TARGET.write_text(render())
