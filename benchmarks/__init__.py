"""Benchmarks of optuna_ga; README.md here explains them.

They are clients of its public names. Only `trainings` and the timings of trainers reach below.
"""
