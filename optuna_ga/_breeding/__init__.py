"""Breeding: how a trial gets its genes, by the paper's operators or by the adaptive ones."""
