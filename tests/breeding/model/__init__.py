"""Tests of the models of the adaptive sampler."""
