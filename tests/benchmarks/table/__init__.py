"""Tests of `benchmarks.table`."""
