"""The tests; what they share is in conftest.py and strategies.py."""
