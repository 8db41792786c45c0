"""A game as a distribution for another library (``write``), and what such a distribution calls (``bridge``)."""
