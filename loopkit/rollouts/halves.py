"""Which train tasks a warm-up with a split of its own shows, and which are left to train on."""

from __future__ import annotations

import re

from loopkit import seeding
from loopkit.records import Task


def shown(task: Task) -> bool:
    """Whether a task is in the half that a warm-up with ``split=half`` demonstrates; the other is ``run.unseen``'s.

    Tasks of a cluster stay together, and so do those that ask the same words in another order (12 + 34 and 34 + 12).
    """
    if task.cluster != task.id:
        return seeding.uniform("half", task.cluster) < 0.5
    words = sorted(word for message in task.messages for word in re.findall(r"\w+", message.content))
    return seeding.uniform("half", *words) < 0.5
