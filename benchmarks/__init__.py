"""Benchmarks of optuna_ga, clients of its public names alone; README.md here explains them."""
