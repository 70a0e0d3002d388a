"""Tests of evaluating a generation at once, in one process and in several."""
