"""Counts of lost, repeated and different trials when many workers share a study and die."""
