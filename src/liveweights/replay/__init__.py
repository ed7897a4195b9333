"""Replayed users: real code, typed again, for the demo, the tests and the benchmarks."""
