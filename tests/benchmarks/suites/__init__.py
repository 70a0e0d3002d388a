"""Tests of `benchmarks.suites`."""
