"""Tests of training that resumes from a parent's checkpoint."""
