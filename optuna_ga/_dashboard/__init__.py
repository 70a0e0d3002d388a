"""Generations in optuna-dashboard."""
