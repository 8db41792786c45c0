"""What a verdict of training does not reach: forms that no reply in training had."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from loopkit.experiment.config import RunSpec
from loopkit.experiment.rundir import RunDir
from loopkit.experiment.shards import read_shard, thoughts_of

FORMS = {
    "an empty reply": r"\s*\Z",
    "tags (<answer>)": r"(?s).*<([a-zA-Z]\w*)>.*</\1>",
    r"\boxed{}": r"(?s).*\\boxed\{",
    "####": r"(?s).*####",
    "a code block": r"(?s).*```",
    "JSON": r"(?s)\s*\{.*\}\s*\Z",
    "several answers in a list": r"(?s).*\b(\w+)(?:[,;/\n ]+\w+){3,}",
    "a reply over 1,000 characters": r"(?s).{1001,}",
}
"""Form -> a pattern that a reply in it begins with."""


def unsaid(specs: Sequence[RunSpec], out: Path) -> list[str]:
    """The forms that no reply of training in these runs had; none where training kept no replies."""
    left, replies = dict(FORMS), 0
    for spec in specs:
        for shard in sorted((RunDir(out / spec.name).path / "rollouts").glob("*.parquet")):
            for row in read_shard(shard):
                text = "\n".join(thought + said for thought, said in zip(thoughts_of(row), row["said"], strict=True))
                replies += 1
                left = {name: form for name, form in left.items() if not re.match(form, text)}
    return list(left) if replies else []
