"""Completions that somebody already has: read them (``files``, ``formats``), look at them (``findings``, ``games``)."""
