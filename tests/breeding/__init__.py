"""Tests of how trials are bred: the paper's algorithm, the adaptive sampler and its parts."""
