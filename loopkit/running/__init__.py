"""Runs being made: one, many side by side."""
