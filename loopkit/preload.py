"""Imported once by the fork server, so that every run's process starts with torch and friends in memory.

What a run imports late is named here too: transformers' classes and scipy alone take seconds, and nine runs paid them.
"""

import pyarrow.parquet
import scipy.stats
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401

import loopkit.policy.load
import loopkit.policy.save
import loopkit.runner
import loopkit.stats.rates  # noqa: F401
