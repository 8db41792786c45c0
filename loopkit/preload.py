"""Imported once by the fork server, so that every run's process starts with torch and friends in memory.

What a run imports late is imported here too: that alone took each of an experiment's processes 2.6 CPU seconds.
"""

import pyarrow.parquet  # noqa: F401
import scipy.stats  # noqa: F401

import loopkit.policy.optimizer
import loopkit.runner
import loopkit.stats.rates  # noqa: F401
from loopkit.policy.load import import_models

import_models()
