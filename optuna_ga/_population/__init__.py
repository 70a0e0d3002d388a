"""A population of trials: genes, keyed random draws, fitness, generations and their parents."""
