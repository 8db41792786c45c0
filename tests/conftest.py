"""Hypothesis without deadlines (a busy machine is no bug), and the same examples each time where CI asks for it.

``LOOPKIT_EXAMPLES=2000`` searches deeper.
"""

import os

from hypothesis import settings

settings.register_profile(
    "loopkit",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    max_examples=int(os.environ.get("LOOPKIT_EXAMPLES", "100")),
)
settings.load_profile("loopkit")
