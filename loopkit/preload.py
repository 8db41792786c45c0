"""Imported once by the fork server, so that every run's process starts with torch and friends in memory."""

# ruff: noqa: F401
import os

from loopkit.processes import PARENT, die_with_parent

if PARENT in os.environ:  # first: the imports below take seconds, in which the command may be interrupted
    die_with_parent(int(os.environ[PARENT]))

import loopkit.parallel
import loopkit.policy.load
