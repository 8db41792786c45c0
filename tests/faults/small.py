"""A run as small as can be on the embedded policy, made in this process, and what it must end in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loopkit.contracts import PolicyRef
from loopkit.experiment.config import RunSpec, parse_set, read_experiment
from loopkit.experiment.resolve import resolve
from loopkit.policy.tiny import BUNDLED
from loopkit.records import Json
from loopkit.registry import plugins as registry
from loopkit.running.runner import run_one
from loopkit.system.notices import Listener, listening

STEPS = 4
SETTINGS = [
    f"run.steps={STEPS}", "run.prompts_per_step=4", "run.group_size=2", "run.eval_prompts=16",
    "trainer.checkpoint_every=1",
]  # fmt: skip
MAY_DIFFER = ("timings.jsonl", ".lock", "error.txt")


def spec() -> RunSpec:
    """The trained run of the experiment."""
    experiment = read_experiment(None, settings=parse_set(SETTINGS), arms=["loophole"], game="self-grading", seeds="1")
    return next(s for s in resolve(experiment, registry.load()) if s.arm == "loophole")


def finish(out: Path) -> list[tuple[str, Mapping[str, Json]]]:
    """Run, or resume, to the end. Returns the notices on the way."""
    notices: list[tuple[str, Mapping[str, Json]]] = []
    with listening(Listener(lambda event, fields: notices.append((event, fields)), lambda what, ids: None)):
        run_one(spec(), out, PolicyRef(str(BUNDLED)), lambda event: None)
    return notices


def contents(out: Path) -> dict[str, bytes]:
    files = (p for p in sorted(out.rglob("*")) if p.is_file() and p.name not in MAY_DIFFER)
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def same(ours: Path, theirs: Path) -> None:
    """Everything but timings is there, and byte-identical."""
    a, b = contents(ours), contents(theirs)
    assert sorted(a) == sorted(b)
    assert [name for name in a if a[name] != b[name]] == []
