"""Benchmarks: short ones for pytest-benchmark, and `python -m benchmarks.compare` beside the peers."""
