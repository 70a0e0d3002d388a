"""Optimizers of other packages as Optuna samplers, so that they search in the same studies."""
