"""Tests of `benchmarks.performance`."""
