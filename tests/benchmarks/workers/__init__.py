"""Tests of `benchmarks.workers`."""
