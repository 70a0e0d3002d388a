"""Benchmarks of optuna_ga; README.md here explains them.

They are clients of its public names, but for those that time or check the trainers themselves.
"""
