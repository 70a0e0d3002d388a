"""Examples of a training, and the order in which members see them."""
