"""Tests of `optuna_ga.torch`."""
