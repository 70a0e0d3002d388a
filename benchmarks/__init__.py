"""Benchmarks of optuna_ga; README.md here explains them.

They are clients of its public names. Only `trainings` and the timings of trainers reach below.
"""

from benchmarks.commands import show_help_without_packages

show_help_without_packages()  # Here, since a command's own imports would fail.
