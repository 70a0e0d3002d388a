"""Ways to train members: one after the other, or as one; `loop` is the specification."""
