"""Imported once by the fork server, so that every run's process starts with torch and friends in memory.

What a run imports late is imported here too: that alone took each of an experiment's processes 2.6 CPU seconds.
"""

# ruff: noqa: F401
import os

from loopkit.system.processes import PARENT, die_with_parent

if PARENT in os.environ:  # first: the imports below take seconds, in which the command may be interrupted
    die_with_parent(int(os.environ[PARENT]))

import pyarrow.parquet
import scipy.stats

import loopkit.policy.optimizer
import loopkit.running.parallel
import loopkit.stats.rates
from loopkit.policy.load import import_models

import_models()
