"""Speed against peers in the same run: ``python -m benchmarks``. Results and method: docs/benchmarks.md."""
