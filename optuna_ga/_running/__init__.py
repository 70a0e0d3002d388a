"""Run a study by whole generations, in processes or threads."""
