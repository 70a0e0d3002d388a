"""Tests of the FashionMNIST objective, its data and its trainers."""
