"""Tests of what is read from a finished study."""
