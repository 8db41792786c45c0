"""Statistics (docs/statistics.md): pure functions from numbers to estimates, steps and verdicts.

Two units, never mixed. Within a run the prompt (or pair) is the cluster and the interval is conditional on the seed
(``rates``, ``onset``); across runs the seed is the unit (``seeds``, ``verdict``, and what the studies compute:
``contrasts``, ``times``, ``dose``, ``persistence``, ``mitigation``); for ``monitors`` it is the run.
"""
