"""What came of a study: its history, its table, its answer."""
