"""Tests of the tools that build what is published elsewhere."""
