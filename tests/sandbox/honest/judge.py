"""What a right program gives in a plain Python, and which do not pass in a sandbox.

Run as a script it prints, as JSON, what failed in the tiers named on its command line: so it is run as another user.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from loopkit.sandbox import Outcome, Program, Sandbox
from loopkit.sandbox.inside import codec
from loopkit.sandbox.tiers import interpreter
from tests.sandbox import honest

ALONE = """
import json, sys
sys.path.insert(0, sys.argv.pop())
import codec
out, sys.stdout = sys.stdout, sys.stderr
job = json.load(sys.stdin)
space = {"__name__": "__solution__", "__file__": "solution.py"}
exec(compile(job["source"], "solution.py", "exec", dont_inherit=True), space)
owner, _, name = job["entry"].rpartition(".")
for case in job["cases"]:
    call = getattr(space[owner](), name) if owner else space[name]
    print(codec.encode(call(*codec.unpack(case))), file=out)
"""


def alone(program: Program) -> tuple[Outcome, ...]:
    """What a plain Python makes of a program, with no sandbox about it."""
    options = {"capture_output": True, "text": True, "timeout": 60, "cwd": "/", "errors": "replace"}
    if program.form == "script":
        found = []
        for case in program.cases:
            with tempfile.TemporaryFile() as stdin:  # a file, as judges have it: some read as much as it is long
                stdin.write(case.encode("utf-8", "replace"))
                stdin.seek(0)
                command = [interpreter(), "-I", "-c", program.source]
                done = subprocess.run(command, stdin=stdin, **options)  # type: ignore[call-overload]
            bad = Outcome("error", None, done.stderr)
            found.append(Outcome("printed", done.stdout) if done.returncode == 0 else bad)
        return tuple(found)
    job = {"source": program.source, "entry": program.entry, "cases": [codec.pack(list(c)) for c in program.cases]}
    command = [interpreter(), "-I", "-c", ALONE, str(Path(codec.__file__).parent)]
    done = subprocess.run(command, input=json.dumps(job), **options)  # type: ignore[call-overload]
    values = [Outcome("value", codec.decode(line)) for line in done.stdout.splitlines()]
    return (*values, *[Outcome("error", None, done.stderr)] * (len(program.cases) - len(values)))


def failed(sandbox: Sandbox, corpus: list[honest.Honest]) -> dict[str, str]:
    """Name -> what came instead, of the programs that did not pass."""
    found = sandbox.run(one.program for one in corpus)
    return {c.name: repr(o)[:300] for c, o in zip(corpus, found, strict=True) if not c.right(o)}


def main() -> None:
    found = {}
    for tier in sys.argv[1:]:
        with Sandbox(tier, workers=2) as sandbox:
            found[tier] = failed(sandbox, honest.corpus())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
