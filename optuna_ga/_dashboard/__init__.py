"""The report of a search in optuna-dashboard: note and figures."""
