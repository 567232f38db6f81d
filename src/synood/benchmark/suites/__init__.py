"""Benchmark suites: the catalog, their layouts on disk, verification, the mini suite."""
