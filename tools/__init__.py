"""Scripts that prepare the project for others; not part of the package."""
