"""Hypothesis without deadlines (a busy machine is no bug), and the same examples each time where CI asks for it.

``LOOPKIT_EXAMPLES=2000`` searches deeper.
"""

import os
import signal

from hypothesis import settings

os.environ["COLUMNS"] = "100"  # what pages show was printed so wide

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background, whose children would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "loopkit",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    max_examples=int(os.environ.get("LOOPKIT_EXAMPLES", "100")),
)
settings.load_profile("loopkit")
