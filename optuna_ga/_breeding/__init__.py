"""How children are bred: the paper's operators, the adaptive ones, and their model."""
