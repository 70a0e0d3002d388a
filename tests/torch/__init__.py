"""What `optuna_ga.torch` does."""
