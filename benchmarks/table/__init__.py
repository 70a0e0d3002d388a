"""The paper's problem looked up in a table of trainings, and what stands on that table."""
