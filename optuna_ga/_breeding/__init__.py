"""Breeding: a trial gets its genes by the paper's operators or by adaptive operators."""
