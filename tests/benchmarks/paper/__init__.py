"""Tests of `benchmarks.paper`."""
