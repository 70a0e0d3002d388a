"""The paper's problem looked up in a table of trainings, and the experiments on that table."""
