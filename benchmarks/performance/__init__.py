"""The cost of a suggestion, and the speed and precision of a generation's training."""
