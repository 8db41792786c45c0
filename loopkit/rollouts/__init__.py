"""From a task to a step's numbers: playing, the referee's books, scoring and metrics."""
