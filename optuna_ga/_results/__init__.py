"""Results of a study: its history, its table, its answer, and rechecked trials."""
