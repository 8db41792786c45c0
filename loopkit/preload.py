"""Imported once by the fork server, so that every run's process starts with torch and friends in memory."""

# ruff: noqa: E402, F401
from loopkit.processes import die_with_parent

die_with_parent()  # first: the imports below take seconds, in which the command may be interrupted

import loopkit.parallel
import loopkit.policy.load
