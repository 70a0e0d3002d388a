"""Tests of what is known when a child is bred."""
