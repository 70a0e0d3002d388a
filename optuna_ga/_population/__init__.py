"""A population: one gene, keyed random draws, who is fitter, who may be a parent."""
