"""Tests of the report for optuna-dashboard and of its pages."""
