"""Imported once by the fork server, so that every run's process starts with torch and friends in memory."""

import loopkit.policy.load
import loopkit.runner  # noqa: F401
