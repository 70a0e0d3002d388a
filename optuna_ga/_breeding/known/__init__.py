"""What is known when a child is bred: all trials as a matrix, what was tried, and the branches."""
