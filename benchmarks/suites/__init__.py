"""Suites of tasks on which samplers are compared, each with a part that nothing is tuned on."""
