"""Random numbers that depend on a member's seed, and what draws others."""
