"""Value by value against the paper's own reward functions: ``python -m tools.paper``."""
