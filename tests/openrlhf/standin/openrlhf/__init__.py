"""A stand-in for OpenRLHF in fast tests: command line, agent interface, log, checkpoints, shuffling; no learning.

What it stands in for is run for real by tests/openrlhf/test_real.py.
"""
